"""customToolkitSettings: the user's own command line, run once, on the master (reference §3)."""

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec) -> Launch:
    """One process on the master."""
    settings = job.custom_toolkit_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    if not settings.command_line:
        raise SpecError("spec.customToolkitSettings.commandLine", "names no command to run")
    return Launch(nodes=((Process(settings.command_line),),))


TOOLKIT = Toolkit(settings="customToolkitSettings", launch=launch)
