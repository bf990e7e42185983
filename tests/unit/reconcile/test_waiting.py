"""A Job's passes while something that it belongs to is missing: what it says, and that it goes on when that comes."""

from typing import Any

from tests.bench.passes import Scene, _job, _node

from batchai.reconcile.cluster import ClusterReconciler
from batchai.reconcile.context import Key
from batchai.reconcile.job import JobReconciler

JOB, CLUSTER = Key("Job", "ns", "job-00000"), Key("Cluster", "ns", "big")


def new_job() -> dict[str, Any]:
    """A Job that nobody has written on yet."""
    raw = _job(0, runs=False)
    metadata = {name: value for name, value in raw["metadata"].items() if name not in {"labels", "ownerReferences"}}
    return raw | {"metadata": metadata, "status": {}}


class World:
    """One idle node, a Cluster, and a new Job; passes of their reconcilers."""

    def __init__(self) -> None:
        self.scene = Scene(jobs=0, running=0)
        self.scene.scale(manual={"targetNodeCount": 1})
        self.scene.context.nodes.put(_node(0))
        self.objects = self.scene.objects
        self.objects.put("Job", new_job())
        self._jobs, self._clusters = JobReconciler(self.scene.context), ClusterReconciler(self.scene.context)

    def take(self, kind: str, name: str) -> dict[str, Any]:
        """An object that is gone from now on; another one of its name may come."""
        raw = self.objects.get(kind, "ns", name)
        assert raw is not None
        self.objects.remove(kind, raw)
        return raw | {"metadata": raw["metadata"] | {"uid": f"another-{name}"}}

    async def look_at_job(self) -> dict[str, Any]:
        """The job's status after a pass over it."""
        await self._jobs.reconcile(JOB)
        status: dict[str, Any] = self.scene.job(0)["status"]
        return status

    async def look_at_cluster(self) -> None:
        await self._clusters.reconcile(CLUSTER)

    async def woken(self) -> set[Key]:
        """The keys that need work."""
        queue, found = self.scene.context.queue, set()
        while len(queue):
            key = await queue.get()
            queue.done(key)
            found.add(key)
        return found


async def test_a_job_without_experiment_is_queued_and_starts_when_that_comes() -> None:
    world = World()
    experiment = world.take("Experiment", "e")
    status = await world.look_at_job()
    assert (status["executionState"], status["waiting"]["reason"]) == ("queued", "ExperimentNotFound")
    assert status["executionStateTransitionTime"] == world.scene.now.isoformat().replace("+00:00", "Z")
    assert "jobOutputDirectoryPathSegment" not in status, "nobody knows its Azure names yet"
    await world.look_at_cluster()
    assert await world.look_at_job() == status
    world.objects.put("Experiment", experiment)
    await world.look_at_cluster()  # Whichever pass comes first, nothing remembers what was missing.
    status = world.scene.job(0)["status"]
    assert (status["executionState"], status["attempt"], "waiting" in status) == ("running", 1, False)
    assert status["jobOutputDirectoryPathSegment"].startswith("s/ns/workspaces/w/experiments/e/jobs/job-00000/")


async def test_a_job_says_why_its_cluster_has_no_queue() -> None:
    world = World()
    cluster = world.take("Cluster", CLUSTER.name)
    assert (await world.look_at_job())["waiting"]["reason"] == "ClusterNotFound"
    workspace = world.take("Workspace", "w")
    world.objects.put("Cluster", cluster)
    await world.look_at_job()
    await world.woken()
    await world.look_at_cluster()
    assert JOB in await world.woken()
    waiting = (await world.look_at_job())["waiting"]
    assert waiting == {
        "reason": "WorkspaceNotFound",
        "message": "waits for Cluster 'big': waits for Workspace 'w': it does not exist in namespace 'ns'",
    }
    world.objects.put("Workspace", workspace)
    await world.look_at_cluster()
    assert world.scene.job(0)["status"]["executionState"] == "running"
