"""Sums 1 + 2 over two processes, which meet by files in the job's shared directory, as in the service's recipe."""

import os

import numpy as np
from caffe2.python import core, workspace

rank = int(os.environ["AZ_BATCHAI_TASK_INDEX"])
size = len(os.environ["AZ_BATCH_HOST_LIST"].split(","))
meeting = os.path.join(os.environ["AZ_BATCHAI_SHARED_JOB_TEMP"], "caffe2")
os.makedirs(meeting, exist_ok=True)
workspace.RunOperatorOnce(core.CreateOperator("FileStoreHandlerCreate", [], ["store"], path=meeting))
world = core.CreateOperator(
    "CreateCommonWorld", ["store"], ["world"], size=size, rank=rank, engine="GLOO", transport="tcp", name="sum"
)
workspace.RunOperatorOnce(world)
workspace.FeedBlob("value", np.array([rank + 1], dtype=np.float32))
workspace.RunOperatorOnce(core.CreateOperator("Allreduce", ["world", "value"], ["value"], engine="GLOO"))
print("rank {} of {} sum {}".format(rank, size, workspace.FetchBlob("value")[0]), flush=True)
