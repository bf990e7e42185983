"""caffe2Settings: a Python script, one process per node (reference §3)."""

from collections.abc import Sequence

from batchai.api.job import JobSpec
from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process, Toolkit


def launch(job: JobSpec, hosts: Sequence[str]) -> Launch:
    """Processes find each other by their rank and the shared directory."""
    settings = job.caffe2_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    command = shell.script(settings)
    return Launch(
        nodes=tuple(
            (
                Process(
                    command,
                    stdout=f"stdout-{rank}.txt",
                    stderr=f"stderr-{rank}.txt",
                    environment={"AZ_BATCHAI_TASK_INDEX": str(rank)},
                ),
            )
            for rank in range(len(hosts))
        )
    )


TOOLKIT = Toolkit(settings="caffe2Settings", launch=launch)
