"""A Cluster's passes over many jobs: what they read again, and how much they write at once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.bench.passes import Scene, _job, _node

from batchai.api import names
from batchai.api.job import Job
from batchai.errors import KubeApiError
from batchai.kube.client import NODES
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


def new(index: int) -> dict[str, Any]:
    """A Job that nobody has written on yet."""
    raw = _job(index, runs=False)
    metadata = {name: value for name, value in raw["metadata"].items() if name not in {"labels", "ownerReferences"}}
    return raw | {"metadata": metadata, "status": {}}


async def test_a_new_job_gets_its_node_by_one_write_and_one_that_waits_is_adopted_first() -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})
    scene.objects.put("Job", new(0))
    writes = scene.api.writes
    await scene.look()
    assert (state(scene, 0), scene.api.writes - writes) == ("running", 2), "with the Cluster's own status"
    assert "ownerReferences" not in scene.job(0)["metadata"]
    assert scene.job(0)["status"]["jobOutputDirectoryPathSegment"].startswith("s/ns/workspaces/w/experiments/e/jobs/")
    scene.objects.put("Job", new(1))
    await scene.look()
    [owner] = scene.job(1)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Experiment", "e", "Experiment-e")
    assert scene.job(1)["metadata"]["labels"][names.LABEL_EXPERIMENT] == "e"
    assert scene.job(1)["status"]["queuePosition"] == 1


async def test_a_job_is_seen_as_soon_as_its_experiment_is_there() -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})
    first = scene.objects.get("Experiment", "ns", "e")
    assert first is not None
    scene.objects.remove("Experiment", first)
    scene.objects.put("Job", new(0))
    await scene.look()
    assert not scene.job(0)["status"]
    scene.objects.put("Experiment", first | {"metadata": first["metadata"] | {"uid": "another"}})
    await scene.look()
    assert state(scene, 0) == "running"


async def test_a_queue_that_moves_fast_is_told_from_its_front() -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})
    for index in range(101):
        scene.submit(index, "normal")
    await scene.look()
    for index in range(60):
        scene.end(index)
        writes = scene.api.writes
        await scene.look()
        assert scene.api.writes - writes <= 18, "sixteen that moved, the one that starts, and the Cluster"
    assert [scene.job(index)["status"]["queuePosition"] for index in range(61, 71)] == list(range(1, 11))
    while await scene.look() is not None:
        pass
    assert all(2 * (index - 60) > scene.job(index)["status"]["queuePosition"] for index in range(61, 101))


async def test_a_job_that_was_deleted_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})
    for index in range(3):
        scene.submit(index, "normal")
    patch, tried = scene.api.patch, []

    async def gone(resource: Any, name: str, body: Any, **rest: Any) -> Any:
        if name in {"job-00000", "job-00001"}:
            tried.append(name)
            raise KubeApiError(404, "NotFound", "jobs not found")
        return await patch(resource, name, body, **rest)

    monkeypatch.setattr(scene.api, "patch", gone)
    await scene.look()
    await scene.look()
    assert state(scene, 2) == "running"
    assert sorted(tried) == ["job-00000", "job-00001"]


class Refusing:
    """An API server in whose namespaces nothing may be made; it counts what was tried."""

    def __init__(self, scene: Scene) -> None:
        self.asked = 0
        scene.api.create = self.create  # type: ignore[attr-defined]

    async def create(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        raise KubeApiError(403, "Forbidden", "exceeded quota: pods=2")


def scene_of(nodes: Sequence[dict[str, Any]], **scale: Any) -> Scene:
    scene = Scene(jobs=0, running=0)
    scene.scale(**scale)
    for found in nodes:
        scene.context.nodes.put(found)
    return scene


AUTOMATIC = {"minimumNodeCount": 0, "maximumNodeCount": 4}
SICK = {"key": names.TAINT_GPU_UNHEALTHY, "effect": "NoSchedule"}


async def test_a_refused_placeholder_stops_no_job() -> None:
    scene = scene_of([_node(0)], autoScale=AUTOMATIC)
    refusing = Refusing(scene)
    scene.submit(0, "normal")
    scene.submit(1, "normal")
    await scene.look()
    assert refusing.asked
    assert [state(scene, index) for index in (0, 1)] == ["running", "queued"]
    for _ in range(17):
        await scene.look()
    [error] = scene.cluster()["status"]["errors"]
    assert error["code"] == "NodesUnavailable"
    assert "exceeded quota" in error["details"][0]["value"]


async def test_a_secret_that_may_not_be_tried_stops_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})

    async def refused(*_: Any) -> bool:
        raise KubeApiError(403, "Forbidden", "secrets is forbidden: exceeded quota")

    monkeypatch.setattr(scene.api, "exists_secret", refused)
    scene.submit(0, "normal")
    await scene.look()
    assert state(scene, 0) == "running"


@pytest.mark.parametrize("why", ["sick", "cordoned", "avoided"])
async def test_a_node_on_which_nothing_can_run_is_no_reason_to_get_no_other(why: str) -> None:
    found = _node(0)
    if why == "sick":
        found["spec"]["taints"].append(SICK)
    found["spec"]["unschedulable"] = why == "cordoned"
    scene = scene_of([found], autoScale=AUTOMATIC)
    refusing = Refusing(scene)
    raw = _job(0, runs=False)
    if why == "avoided":
        stamp = "2025-12-31T00:00:00Z"
        attempt = {"number": 1, "nodes": ["node-0000"], "startTime": stamp, "faultyNodes": ["node-0000"]}
        raw["status"] |= {"attempt": 1, "retries": 1, "attempts": [attempt]}
    scene.objects.put("Job", raw)
    await scene.look()
    assert refusing.asked == 1


async def test_a_job_that_can_never_fit_gets_no_nodes() -> None:
    scene = scene_of([], autoScale=AUTOMATIC)
    refusing = Refusing(scene)
    raw = _job(0, runs=False)
    raw["spec"]["nodeCount"] = 8
    scene.objects.put("Job", raw)
    await scene.look()
    assert not refusing.asked
    assert scene.job(0)["status"]["waiting"]["reason"] == "ClusterTooSmall"


class Secrets:
    """An API server that has a few Secrets; `asked` has the names that were looked for."""

    def __init__(self, scene: Scene, *present: str) -> None:
        self.present = {"batchai-storage-acc", *present}
        self.asked: list[str] = []
        scene.api.exists_secret = self.exists  # type: ignore[method-assign]

    async def exists(self, _namespace: str, name: str) -> bool:
        self.asked.append(name)
        return name in self.present


def needing(scene: Scene, index: int, secret: str, **spec: Any) -> None:
    """A job comes that names a Secret."""
    raw = _job(index, runs=False)
    source = {"secretKeyRef": {"name": secret, "key": "key"}}
    raw["spec"] |= {"secrets": [{"name": "TOKEN", "valueFrom": source}], **spec}
    scene.objects.put("Job", raw)


async def test_an_autoscaled_cluster_gets_no_nodes_for_a_job_that_lacks_something() -> None:
    scene = scene_of([], autoScale=AUTOMATIC)
    secrets, refusing = Secrets(scene), Refusing(scene)
    needing(scene, 0, "missing", nodeCount=4)
    assert await scene.look() == 5
    assert scene.job(0)["status"]["waiting"]["reason"] == "SecretNotFound"
    writes = scene.api.writes
    await scene.look()
    assert (scene.api.writes, refusing.asked) == (writes, 0)
    scene.submit(1, "normal")
    await scene.look()
    assert refusing.asked == 1, "for the other one"
    secrets.present.add("missing")
    await scene.look()
    assert refusing.asked == 1 + 4


async def test_nodes_are_given_back_while_the_only_job_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of([_node(0)], autoScale=AUTOMATIC)
    Secrets(scene)
    needing(scene, 0, "missing")
    patch, labels = scene.api.patch, []

    async def released(resource: Any, name: str, body: Any, **rest: Any) -> Any:
        if resource != NODES:
            return await patch(resource, name, body, **rest)
        labels.append(body["metadata"]["labels"][names.LABEL_CLUSTER])
        raise KubeApiError(404, "NotFound", "the node went at once")

    monkeypatch.setattr(scene.api, "patch", released)
    await scene.look()
    assert labels == [None]


async def test_a_job_that_lacks_something_has_no_reservation() -> None:
    scene = scene_of([_node(index) for index in range(4)], manual={"targetNodeCount": 4})
    secrets = Secrets(scene)
    scene.submit(0, "high")
    await scene.look()
    needing(scene, 1, "missing", nodeCount=4)
    for index in (2, 3):
        scene.submit(index, "low")
    await scene.look()
    assert [state(scene, index) for index in range(4)] == ["running", "queued", "running", "running"]
    assert scene.job(1)["status"]["waiting"]["reason"] == "SecretNotFound"
    scene.submit(4, "low")
    secrets.present.add("missing")
    await scene.look()
    assert [state(scene, index) for index in (1, 4)] == ["queued", "queued"], "now it has one"
    assert scene.job(1)["status"]["waiting"]["reason"] == "WaitingForNodes"


async def test_only_the_jobs_that_count_are_asked_what_they_lack() -> None:
    scene = scene_of([], autoScale=AUTOMATIC)
    secrets = Secrets(scene)
    Refusing(scene)
    for index in range(300):
        needing(scene, index, f"missing-{index:03}" if index < 100 else "missing")
    for index in range(300, 1000):
        needing(scene, index, f"there-{index:03}")
    secrets.present |= {f"there-{index:03}" for index in range(300, 1000)}
    await scene.look()
    asked = len(secrets.asked)
    assert asked == len(set(secrets.asked))
    assert 102 + 4 <= asked <= 102 + 64
    await scene.look()
    assert len(secrets.asked) <= 2 * asked, "what was there is believed for a while"


def pod(scene: Scene, index: int, node: str, **more: Any) -> dict[str, Any]:
    """The pod of a job's first attempt on a node."""
    raw = scene.job(index)
    metadata = {
        "name": f"{raw['metadata']['name']}-1-0",
        "namespace": "ns",
        "uid": "p",
        "resourceVersion": "3",
        "annotations": {names.ANNOTATION_NODE: node},
        "labels": {
            names.LABEL_JOB: raw["metadata"]["name"],
            names.LABEL_CLUSTER: raw["spec"]["cluster"],
            names.LABEL_JOB_UID: raw["metadata"]["uid"],
            names.LABEL_ATTEMPT: "1",
            names.LABEL_INDEX: "0",
        },
    }
    return {"metadata": metadata | more.get("metadata", {}), "spec": {}, "status": more.get("status", {})}


async def test_a_pod_that_cannot_be_ended_keeps_its_node_but_not_its_job() -> None:
    sick = _node(0)
    sick["spec"]["taints"].append(SICK)
    scene = scene_of([sick, _node(1)], manual={"targetNodeCount": 2})
    scene.submit(0, "normal")
    asked = (scene.now + timedelta(seconds=90)).isoformat()
    scene.context.pods.put(pod(scene, 0, "node-0000", metadata={"deletionTimestamp": asked}))
    again = await scene.look()
    assert state(scene, 0) == "queued"
    assert again == 90
    await scene.look()
    assert state(scene, 0) == "queued"
    await scene.look()
    assert scene.job(0)["status"]["nodes"] == ["node-0001"]


async def test_a_job_waits_for_the_pods_of_a_deleted_one_of_its_name_on_another_cluster() -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})
    scene.submit(0, "normal")
    former = pod(scene, 0, "elsewhere")
    former["metadata"]["labels"] |= {names.LABEL_CLUSTER: "other", names.LABEL_JOB_UID: "former"}
    scene.context.pods.put(former)
    await scene.look()
    assert state(scene, 0) == "queued"
    assert scene.job(0)["status"]["waiting"] == {
        "reason": "NameTaken",
        "message": "waits for pod 'job-00000-1-0' of a deleted job of the same name to end",
    }
    ends = {"deletionTimestamp": (scene.now + timedelta(seconds=90)).isoformat(), "resourceVersion": "4"}
    scene.context.pods.put(former | {"metadata": former["metadata"] | ends})
    await scene.look()
    await scene.look()
    assert state(scene, 0) == "queued", "it has a minute more than its grace period"
    await scene.look()
    assert state(scene, 0) == "running", "it may never end"


async def test_a_former_pod_that_has_ended_is_not_waited_for() -> None:
    scene = scene_of([_node(0)], manual={"targetNodeCount": 1})
    scene.submit(0, "normal")
    former = pod(scene, 0, "elsewhere", status={"phase": "Succeeded"})
    former["metadata"]["labels"] |= {names.LABEL_CLUSTER: "other", names.LABEL_JOB_UID: "former"}
    scene.context.pods.put(former)
    await scene.look()
    assert state(scene, 0) == "running"


def again(scene: Scene, **status: Any) -> None:
    """A job of four nodes that a fault sent back to the queue at the time of the next look; others want its nodes."""
    raw = _job(0, runs=False, priority="high")
    raw["spec"]["nodeCount"] = 4
    raw["status"] |= {"attempt": 1} | status
    scene.objects.put("Job", raw)
    for index in range(1, 5):
        scene.submit(index, "low")


async def test_a_job_that_rests_keeps_its_reservation() -> None:
    scene = scene_of([_node(index) for index in range(5)], manual={"targetNodeCount": 5})
    moved = scene.now + timedelta(minutes=1)
    waits = {"reason": "PodDeleted", "message": "waits for its next attempt"}
    again(scene, retries=1, executionStateTransitionTime=moved.isoformat(), waiting=waits)
    assert await scene.look() == 5
    assert [state(scene, index) for index in range(5)] == ["queued", "running", "queued", "queued", "queued"]
    assert scene.job(0)["status"]["waiting"] == waits
    assert scene.job(2)["status"]["queuePosition"] == 2, "behind the one that rests"
    await scene.look()
    assert [state(scene, index) for index in range(3)] == ["running", "running", "queued"]


@pytest.mark.parametrize("preempted", [False, True])
async def test_a_job_whose_former_pods_have_not_ended_keeps_its_reservation(*, preempted: bool) -> None:
    nodes = [_node(index) for index in range(4)]
    scene = scene_of(nodes, manual={"targetNodeCount": 4})
    Refusing(scene)
    again(scene, retries=0)
    ends = (scene.now + timedelta(seconds=90)).isoformat()
    scene.context.pods.put(pod(scene, 0, "node-0003", metadata={"deletionTimestamp": ends}))
    if preempted:
        conditions = [*nodes[3]["status"]["conditions"], {"type": "PreemptScheduled", "status": "True"}]
        status = nodes[3]["status"] | {"conditions": conditions}
        scene.context.nodes.put(
            nodes[3] | {"metadata": nodes[3]["metadata"] | {"resourceVersion": "3"}, "status": status}
        )
    await scene.look()
    assert [state(scene, index) for index in range(5)] == ["queued"] * 5
    found = scene.cluster()["status"]["conditions"]
    [available] = [condition["status"] for condition in found if condition["type"] == "NodesAvailable"]
    assert available == str(not preempted), "the node that leaves is missing already"


async def test_a_cluster_that_shrinks_does_not_overtake_a_result() -> None:
    scene = Scene(jobs=1, running=1)
    scene.context.pods.put(pod(scene, 0, "node-0000", status={"phase": "Succeeded"}))
    scene.scale(manual={"targetNodeCount": 0, "nodeDeallocationOption": "requeue"})
    await scene.look()
    assert state(scene, 0) == "running", "its own pass decides"
