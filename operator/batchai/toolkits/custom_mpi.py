"""customMpiSettings: a command line that the MPI runtime runs in every process (reference §3)."""

from batchai.api.job import JobSpec
from batchai.toolkits import mpi, shell
from batchai.toolkits.base import Allocation, Launch, Toolkit


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """mpirun on the master; the user does not write it."""
    settings = job.custom_mpi_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    command = shell.in_each_rank(settings.command_line)
    return mpi.launch(command, settings.process_count or job.node_count, nodes)


TOOLKIT = Toolkit(settings="customMpiSettings", launch=launch)
