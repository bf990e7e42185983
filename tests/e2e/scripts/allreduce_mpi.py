"""Sums 1 + 2 + … over all ranks, and says what a rank sees of the job."""

import os

from mpi4py import MPI

world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
place = f"rank {world.rank} of {world.size} on {os.environ['AZ_BATCH_NODE_ID']}"
torch = f"{os.environ['RANK']}/{os.environ['WORLD_SIZE']}"
# One write a line: lines of several ranks meet in one file.
os.write(1, f"{place} sum {total} own {os.environ['OWN']} torch {torch}\n".encode())
