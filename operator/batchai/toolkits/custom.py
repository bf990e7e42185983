"""customToolkitSettings: the user's own command line, run once, on the master (reference §3)."""

from collections.abc import Sequence

from batchai.api.job import JobSpec
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec, _hosts: Sequence[str]) -> Launch:
    """One process on the master."""
    settings = job.custom_toolkit_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    return Launch(nodes=((Process(settings.command_line),),))


TOOLKIT = Toolkit(settings="customToolkitSettings", launch=launch)
