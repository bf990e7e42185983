"""The toolkits of Batch AI, one file each, and their registry.

A toolkit is pure: job in, processes of each node out. A new one is a file beside these and a line below.
"""

from collections.abc import Sequence

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import caffe, caffe2, chainer, cntk, custom, custom_mpi, horovod, pytorch, tensorflow
from batchai.toolkits.base import Launch, Process, Toolkit

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

__all__ = ["TOOLKITS", "Launch", "Process", "Toolkit", "launch"]


def launch(job: JobSpec, hosts: Sequence[str]) -> Launch:
    """The processes of a job on its hosts, master first. Raises SpecError for a shape that cannot run."""
    name, _ = job.toolkit()
    if job.node_count != 1:
        raise SpecError("spec.nodeCount", "this version runs jobs on one node only: set it to 1")
    return TOOLKITS[name].launch(job, hosts)
