"""The toolkits of Batch AI, one file each, and their registry.

A toolkit is pure: job in, processes of each node out. A new one is a file beside these and a line below.
"""

from batchai.api.job import JobSpec
from batchai.toolkits import caffe, caffe2, chainer, cntk, custom, custom_mpi, horovod, pytorch, tensorflow
from batchai.toolkits.base import Allocation, Launch, Process, Toolkit

TOOLKITS: dict[str, Toolkit] = {
    toolkit.settings: toolkit
    for toolkit in (
        caffe.TOOLKIT,
        caffe2.TOOLKIT,
        chainer.TOOLKIT,
        cntk.TOOLKIT,
        custom.TOOLKIT,
        custom_mpi.TOOLKIT,
        horovod.TOOLKIT,
        pytorch.TOOLKIT,
        tensorflow.TOOLKIT,
    )
}

__all__ = ["TOOLKITS", "Allocation", "Launch", "Process", "Toolkit", "launch"]


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """The processes of a job on its nodes. Raises SpecError for a shape that cannot run."""
    name, _ = job.toolkit()
    return TOOLKITS[name].launch(job, nodes)
