"""The sample of the trainer image under mpirun: says which worker this is, where, and with which model it ended.

Takes the sample's arguments.
"""

import hashlib
import os
import sys

import cntk
import ConvNet_MNIST

workers, rank = cntk.Communicator.num_workers(), cntk.Communicator.rank()
model = ConvNet_MNIST.main(*sys.argv[1:])
digest = hashlib.sha256(b"".join(parameter.value.tobytes() for parameter in model.parameters)).hexdigest()
# One write a line: lines of several ranks meet in one file.
os.write(1, "rank {} of {} on {} model {}\n".format(rank, workers, os.environ["AZ_BATCH_NODE_ID"], digest).encode())
