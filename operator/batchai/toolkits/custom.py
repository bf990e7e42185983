"""customToolkitSettings: the user's own command line, run once, on the master (reference §3)."""

from batchai.api.job import JobSpec
from batchai.toolkits import mpi
from batchai.toolkits.base import Allocation, Launch, Toolkit


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """One process on the master, whatever nodeCount is; it reaches the other nodes by ssh and the host file."""
    settings = job.custom_toolkit_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    return mpi.on_master(settings.command_line, nodes)


TOOLKIT = Toolkit(settings="customToolkitSettings", launch=launch)
