from datetime import UTC, datetime, timedelta
from typing import Any

from batchai.api.cluster import Cluster
from batchai.schedule.queue import QueuedJob
from batchai.schedule.scaling import Target, deallocation, demand, maximum, target

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def cluster(settings: dict[str, Any] | None, **status: Any) -> Cluster:
    spec = {"workspace": "w", "vmSize": "Standard_NC6", "scaleSettings": settings}
    return Cluster.model_validate({"metadata": {"name": "c"}, "spec": spec, "status": status})


def automatic(**fields: int) -> dict[str, Any]:
    return {"autoScale": {"minimumNodeCount": 1, "maximumNodeCount": 5, **fields}}


def nodes(settings: dict[str, Any] | None, demand: int, own: int = 0, **status: Any) -> int:
    return target(cluster(settings, **status), demand=demand, own=own, now=NOW).nodes


def test_a_manual_cluster_wants_its_target() -> None:
    assert nodes({"manual": {"targetNodeCount": 3}}, demand=9) == 3
    assert nodes(None, demand=9) == 0


def test_an_autoscaled_cluster_follows_its_jobs_between_the_bounds() -> None:
    assert [nodes(automatic(), demand) for demand in (0, 1, 3, 9)] == [1, 1, 3, 5]
    assert nodes(automatic(), demand=0, own=4) == 1


def test_initial_nodes_count_until_the_first_job() -> None:
    assert nodes(automatic(initialNodeCount=3), demand=0, own=3) == 3
    assert nodes(automatic(initialNodeCount=3), demand=0, own=3, firstJobTime=NOW) == 1


def test_nodes_that_nobody_needs_stay_for_the_idle_timeout() -> None:
    settings = automatic(idleTimeoutSeconds=60)
    first = target(cluster(settings), demand=2, own=4, now=NOW)
    assert first == Target(4, NOW, timedelta(seconds=60))
    since = NOW - timedelta(seconds=59)
    assert target(cluster(settings, idleSince=since), demand=2, own=4, now=NOW).nodes == 4
    since = NOW - timedelta(seconds=60)
    assert target(cluster(settings, idleSince=since), demand=2, own=4, now=NOW) == Target(2, since)
    assert target(cluster(settings, idleSince=since), demand=4, own=4, now=NOW) == Target(4)


def test_bounds_and_deallocation() -> None:
    manual = cluster({"manual": {"targetNodeCount": 2, "nodeDeallocationOption": "terminate"}}).spec.scale_settings
    assert (maximum(manual), deallocation(manual)) == (2, "terminate")
    scaled = cluster(automatic()).spec.scale_settings
    assert (maximum(scaled), deallocation(scaled)) == (5, "waitforjobcompletion")
    assert maximum(None) == 0


def test_what_jobs_need() -> None:
    held = {"n1": "runs", "n2": "again", "n3": "again"}
    first = QueuedJob("new", "normal", NOW, 4)
    assert demand(held, [first], {"n1", "n2", "n3"}) == 7
    again = QueuedJob("again", "normal", NOW, 2)
    assert demand(held, [again], {"n1", "n2", "n3"}) == 3, "the former pods' nodes will be its own again"
    assert demand(held, [again], {"n1", "n2"}) == 4, "one of them cannot run it"
    avoiding = QueuedJob("again", "normal", NOW, 2, avoids=frozenset({"n3"}))
    assert demand(held, [avoiding], {"n1", "n2", "n3"}) == 4, "it may not go back there"
    smaller = QueuedJob("again", "normal", NOW, 1)
    assert demand(held, [smaller], {"n1", "n2", "n3"}) == 3
