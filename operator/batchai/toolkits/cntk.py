"""cntkSettings: a Python script, or a BrainScript configuration for the `cntk` program (reference §3)."""

from dataclasses import replace

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import mpi, shell
from batchai.toolkits.base import Allocation, Launch, Toolkit


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """One process, or mpirun with processCount of them."""
    settings = job.cntk_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    if settings.python_script_file_path:
        command = shell.python(
            settings.python_script_file_path, settings.python_interpreter_path, settings.command_line_args
        )
    elif settings.config_file_path:
        configuration = f"configFile={shell.path(settings.config_file_path)}"
        command = shell.program("cntk", configuration, settings.command_line_args)
    else:
        raise SpecError(
            "spec.cntkSettings", "set pythonScriptFilePath, or configFilePath for a BrainScript configuration"
        )
    found = mpi.launch_if_several(command, settings.process_count or job.node_count, nodes)
    return replace(found, environment={**found.environment, "KERAS_BACKEND": "cntk"})


TOOLKIT = Toolkit(settings="cntkSettings", launch=launch)
