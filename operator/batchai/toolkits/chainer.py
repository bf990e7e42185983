"""chainerSettings: a Python script in MPI processes (reference §3). MPI and Chainer are the image's."""

from batchai.api.job import JobSpec
from batchai.toolkits import mpi, shell
from batchai.toolkits.base import Allocation, Launch, Toolkit


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """mpirun on the master."""
    settings = job.chainer_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    return mpi.launch(shell.script(settings), settings.process_count or job.node_count, nodes)


TOOLKIT = Toolkit(settings="chainerSettings", launch=launch)
