"""cntkSettings: a Python script, or a BrainScript configuration for the `cntk` program (reference §3)."""

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec) -> Launch:
    """One process, or mpirun with processCount of them on one node."""
    settings = job.cntk_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    if settings.python_script_file_path:
        command = shell.python(
            settings.python_script_file_path, settings.python_interpreter_path, settings.command_line_args
        )
    elif settings.config_file_path:
        command = f"cntk configFile={shell.path(settings.config_file_path)}"
        if settings.command_line_args:
            command = f"{command} {settings.command_line_args}"
    else:
        raise SpecError(
            "spec.cntkSettings", "set pythonScriptFilePath, or configFilePath for a BrainScript configuration"
        )
    if (settings.process_count or 1) > 1:
        command = shell.mpirun(command, settings.process_count or 1)
    return Launch(nodes=((Process(command),),), environment={"KERAS_BACKEND": "cntk"})


TOOLKIT = Toolkit(settings="cntkSettings", launch=launch)
