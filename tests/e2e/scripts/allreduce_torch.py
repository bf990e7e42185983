"""Sums 1 + 2 + … over all ranks; takes the arguments of the service's PyTorch recipe.

Under mpirun the rank is in the environment.
"""

import argparse
import os

import torch
import torch.distributed as dist

parser = argparse.ArgumentParser()
parser.add_argument("--dist-url", required=True)
parser.add_argument("--rank", type=int, default=os.environ["RANK"])
arguments = parser.parse_args()
size = int(os.environ["WORLD_SIZE"])
dist.init_process_group("gloo", init_method=arguments.dist_url, rank=arguments.rank, world_size=size)
value = torch.tensor([arguments.rank + 1.0])
dist.all_reduce(value)
print(f"rank {arguments.rank} of {size} sum {value.item()}")
