"""caffeSettings: a solver configuration for the `caffe` program, or a Python script (reference §3)."""

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import mpi, shell
from batchai.toolkits.base import Allocation, Launch, Toolkit


def launch(job: JobSpec, nodes: Allocation) -> Launch:
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
    return mpi.launch_if_several(command, settings.process_count or job.node_count, nodes)


TOOLKIT = Toolkit(settings="caffeSettings", launch=launch)
