"""Sums 1 + 2 + … over all ranks with Horovod, and says where each rank is."""

import os

import horovod.torch as hvd
import torch

hvd.init()
total = hvd.allreduce(torch.tensor([hvd.rank() + 1.0]), op=hvd.Sum).item()
place = f"rank {hvd.rank()} of {hvd.size()} local {hvd.local_rank()} of {hvd.local_size()}"
# One write a line: lines of several ranks meet in one file.
os.write(1, f"{place} on {os.environ['AZ_BATCH_NODE_ID']} sum {total}\n".encode())
