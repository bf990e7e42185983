"""cntkSettings: a Python script, or a BrainScript configuration for the `cntk` program (reference §3)."""

from collections.abc import Sequence

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec, _hosts: Sequence[str]) -> Launch:
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
    if (settings.process_count or 1) > 1:
        command = shell.mpirun(command, settings.process_count or 1)
    return Launch(nodes=((Process(command),),), environment={"KERAS_BACKEND": "cntk"})


TOOLKIT = Toolkit(settings="cntkSettings", launch=launch)
