"""What follows from a write of our own; the API's answers are given."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.bench.passes import _merged
from tests.unit.builders import job_raw

from batchai.api.job import JobStatus
from batchai.kube.client import JOBS, KINDS
from batchai.kube.store import ObjectStore, Store
from batchai.reconcile.context import Context, Key
from batchai.reconcile.queue import WorkQueue
from batchai.reconcile.writes import adopted, owned, write_status
from batchai.settings import Settings


class Answers:
    """An API that accepts patches of one job."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.body: dict[str, Any] = {}

    async def patch(self, _resource: object, _name: str, body: dict[str, Any], **_: object) -> dict[str, Any]:
        self.body = body
        self.job = _merged(_merged(self.job, body), {"metadata": {"resourceVersion": "8"}})
        return self.job


def context_of(api: Answers, queue: WorkQueue[Key], objects: ObjectStore) -> Context:
    return Context(
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


async def test_a_status_write_wakes_the_jobs_cluster() -> None:
    api, queue, objects = Answers(job_raw()), WorkQueue[Key](lambda: 1.0), ObjectStore(KINDS)
    objects.put("Job", job_raw())
    context = context_of(api, queue, objects)
    raw = objects.get("Job", "ns", "train")
    assert raw is not None
    assert await write_status(context, JOBS, raw, JobStatus(execution_state="succeeded"))
    assert api.body == {"status": {"executionState": "succeeded"}, "metadata": {"resourceVersion": "7"}}
    assert await queue.get() == Key("Cluster", "ns", "nc6")
    assert len(queue) == 0
    written = objects.get("Job", "ns", "train")
    assert written is not None
    assert not await write_status(context, JOBS, written, JobStatus(execution_state="succeeded"))


# --- what belongs to an Experiment ----------------------------------------------------------------------------------

EXPERIMENT = {
    "kind": "Experiment",
    "metadata": {
        "name": "exp-2",
        "namespace": "ns",
        "uid": "e",
        "labels": {"batchai.dev/name": "Exp_2", "batchai.dev/workspace": "Work"},
    },
    "spec": {"workspace": "work"},
}
OURS = {
    "apiVersion": "batchai.dev/v1alpha1",
    "kind": "Experiment",
    "name": "exp-2",
    "uid": "e",
    "blockOwnerDeletion": True,
}
WORKFLOW = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "w"}


async def adopt(name: str = "train", **metadata: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Job after it was adopted, and what was written; a second time nothing may be."""
    raw = job_raw(name)
    raw["metadata"] |= metadata
    api, objects = Answers(raw), ObjectStore(KINDS)
    objects.put("Job", raw)
    context = context_of(api, WorkQueue[Key](lambda: 1.0), objects)
    found = objects.get("Job", "ns", name)
    assert found is not None
    found = await adopted(context, JOBS, found, EXPERIMENT)
    written, api.body = api.body, {}
    assert await adopted(context, JOBS, found, EXPERIMENT) is found
    assert not api.body
    return found, written


@pytest.mark.parametrize(
    ("present", "after"),
    [
        ([], [OURS | {"controller": True}]),
        ([WORKFLOW], [WORKFLOW, OURS | {"controller": True}]),
        ([WORKFLOW | {"controller": True}], [WORKFLOW | {"controller": True}, OURS]),
        ([OURS | {"name": "exp", "uid": "of a copy"}, WORKFLOW], [WORKFLOW, OURS | {"controller": True}]),
        ([OURS | {"apiVersion": "other.dev/v1"}], [OURS | {"apiVersion": "other.dev/v1"}, OURS | {"controller": True}]),
    ],
)
async def test_owners_of_others_stay(present: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    found, _ = await adopt(ownerReferences=present)
    assert found["metadata"]["ownerReferences"] == after
    assert owned(found, "Experiment")
    assert not owned({"metadata": {"ownerReferences": [WORKFLOW]}}, "Experiment")


@pytest.mark.parametrize(
    ("name", "label", "azure_name"),
    [
        ("train", None, "train"),
        ("a.b", None, "a.b"),
        ("train-1", "Train_1", "Train_1"),
        ("train-1-1afd0b", "Train_1", "Train_1"),
        ("train-2", "Train_1", "train-2"),
        ("train-1-a1b2c3", "Train_1", "train-1-a1b2c3"),
    ],
)
async def test_a_copy_has_the_labels_of_where_it_is(name: str, label: str | None, azure_name: str) -> None:
    copied = {"batchai.dev/experiment": "Exp_1", "batchai.dev/workspace": "Other", "team": "vision"}
    named = {} if label is None else {"batchai.dev/name": label}
    found, written = await adopt(name, labels=copied | named)
    assert found["metadata"]["labels"] == {
        "batchai.dev/name": azure_name,
        "batchai.dev/workspace": "Work",
        "batchai.dev/experiment": "Exp_2",
        "team": "vision",
    }
    assert written["metadata"]["labels"]["batchai.dev/experiment"] == "Exp_2"
