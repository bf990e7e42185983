"""What follows from a write of our own; the API's answers are given."""

from datetime import UTC, datetime
from typing import Any

from tests.unit.builders import job_raw

from batchai.api.job import JobStatus
from batchai.kube.client import JOBS, KINDS
from batchai.kube.store import ObjectStore, Store
from batchai.reconcile.context import Context, Key
from batchai.reconcile.queue import WorkQueue
from batchai.reconcile.writes import write_status
from batchai.settings import Settings


class Answers:
    """An API that accepts one patch."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {}

    async def patch(self, _resource: object, _name: str, body: dict[str, Any], **_: object) -> dict[str, Any]:
        self.body = body
        raw = job_raw()
        return raw | {"metadata": raw["metadata"] | {"resourceVersion": "8"}, "status": body["status"]}


async def test_a_status_write_wakes_the_jobs_cluster() -> None:
    api, queue, objects = Answers(), WorkQueue[Key](lambda: 1.0), ObjectStore(KINDS)
    objects.put("Job", job_raw())
    context = Context(
        api=api,  # type: ignore[arg-type]
        objects=objects,
        pods=Store(),
        nodes=Store(),
        volumes=Store(),
        mount_failures={},
        queue=queue,
        settings=Settings("launcher", {}, "batchai-system", "me"),
        clock=lambda: datetime.now(UTC),
        subscription="s",
    )
    raw = objects.get("Job", "ns", "train")
    assert raw is not None
    assert await write_status(context, JOBS, raw, JobStatus(execution_state="succeeded"))
    assert api.body == {"status": {"executionState": "succeeded"}, "metadata": {"resourceVersion": "7"}}
    assert await queue.get() == Key("Cluster", "ns", "nc6")
    assert len(queue) == 0
    written = objects.get("Job", "ns", "train")
    assert written is not None
    assert not await write_status(context, JOBS, written, JobStatus(execution_state="succeeded"))
