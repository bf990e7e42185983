"""caffeSettings: a solver configuration for the `caffe` program, or a Python script (reference §3)."""

from collections.abc import Sequence

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec, _hosts: Sequence[str]) -> Launch:
    """One process, or mpirun with processCount of them."""
    settings = job.caffe_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    if settings.python_script_file_path:
        command = shell.python(
            settings.python_script_file_path, settings.python_interpreter_path, settings.command_line_args
        )
    elif settings.config_file_path:
        solver = f"--solver={shell.path(settings.config_file_path)}"
        command = shell.program("caffe train", solver, settings.command_line_args)
    else:
        raise SpecError("spec.caffeSettings", "set pythonScriptFilePath, or configFilePath for a solver configuration")
    if (settings.process_count or 1) > 1:
        command = shell.mpirun(command, settings.process_count or 1)
    return Launch(nodes=((Process(command),),))


TOOLKIT = Toolkit(settings="caffeSettings", launch=launch)
