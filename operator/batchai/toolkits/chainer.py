"""chainerSettings: a Python script in MPI processes (reference §3). MPI and Chainer are the image's."""

from collections.abc import Sequence

from batchai.api.job import JobSpec
from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec, _hosts: Sequence[str]) -> Launch:
    """mpirun on the master."""
    settings = job.chainer_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    command = shell.python(
        settings.python_script_file_path, settings.python_interpreter_path, settings.command_line_args
    )
    return Launch(nodes=((Process(shell.mpirun(command, settings.process_count or job.node_count)),),))


TOOLKIT = Toolkit(settings="chainerSettings", launch=launch)
