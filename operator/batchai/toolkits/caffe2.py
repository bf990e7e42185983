"""caffe2Settings: a Python script, one process per node (reference §3)."""

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import shell
from batchai.toolkits.base import Allocation, Launch, Process, Toolkit


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """Processes find each other by their rank and the shared directory."""
    settings = job.caffe2_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    if not nodes.shared:
        raise SpecError(
            "spec.mountVolumes",
            "Caffe2 on several nodes needs a directory that they share: mount an Azure file share, or set "
            "sharedTempStorageClass of the Cluster",
        )
    command = shell.script(settings)
    return Launch(
        nodes=tuple(
            (
                Process(
                    command,
                    title=f"rank {rank}",
                    stdout=f"stdout-{rank}.txt",
                    stderr=f"stderr-{rank}.txt",
                    environment={"AZ_BATCHAI_TASK_INDEX": str(rank)},
                ),
            )
            for rank in range(len(nodes.hosts))
        ),
        slots=nodes.spread(len(nodes.hosts)),
    )


TOOLKIT = Toolkit(settings="caffe2Settings", launch=launch)
