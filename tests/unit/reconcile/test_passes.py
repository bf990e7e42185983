"""A Cluster's passes over many jobs: what they read again, and how much they write at once."""

from typing import Any

import pytest
from tests.bench.passes import Scene

from batchai.api.job import Job
from batchai.reconcile import cluster
from batchai.schedule import nodes


def state(scene: Scene, index: int) -> str:
    found: str = scene.job(index)["status"]["executionState"]
    return found


async def test_jobs_and_nodes_that_did_not_change_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(jobs=60, running=10)
    read: list[str] = []
    validate, view = Job.model_validate, nodes.view

    def count_job(raw: Any) -> Job:
        read.append(raw["metadata"]["name"])
        return validate(raw)

    def count_node(raw: Any, *arguments: Any) -> nodes.NodeView:
        read.append(raw["metadata"]["name"])
        return view(raw, *arguments)

    monkeypatch.setattr(Job, "model_validate", count_job)
    monkeypatch.setattr(cluster, "view", count_node)
    await scene.look()
    assert len(read) == len(set(read)) == 60 + 20
    await scene.look()  # All that wait were told their place.
    read.clear()
    writes = scene.api.writes
    await scene.look()
    assert (read, scene.api.writes) == ([], writes)
    scene.end(0)
    await scene.look()
    assert [state(scene, index) for index in range(10, 13)] == ["running", "running", "queued"]
    assert read == []
    await scene.look()
    assert set(read) >= {"job-00010", "job-00011"}
    assert not any(name.startswith("node-") for name in read)


async def test_thousands_of_new_jobs_do_not_hold_up_an_urgent_one() -> None:
    scene = Scene(jobs=1_000, running=2)
    assert await scene.look() == 0
    assert scene.api.writes < 300
    scene.submit(1_000, "high")
    scene.end(0)
    assert await scene.look() == 0
    assert state(scene, 1_000) == "running"
    assert await scene.look() == 0
    assert await scene.look() is None
    assert all("queuePosition" in scene.job(index)["status"] for index in range(3, 1_000))
