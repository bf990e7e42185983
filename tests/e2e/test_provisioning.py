"""A Cluster whose nodes come from a provider and go back to it (tests/e2e/provider.py): slow, out of quota, failing."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.jobs import Cluster, Space, Storage, wait_until
from tests.e2e.provider import TOLERATIONS, VM_SIZE, Provider, provider

pytestmark = pytest.mark.kwok


@pytest.fixture(scope="module")
def nodes() -> Iterator[Provider]:
    with provider() as found:
        yield found


@pytest.fixture
def space(cluster: Cluster, storage: Storage, nodes: Provider) -> Iterator[Space]:
    """Torn down while the provider still plays its nodes: pods on them end only so."""
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=0)
    nodes.delay, nodes.limit, nodes.failing = 0.5, 3, False
    nodes.made.clear()
    yield space
    space.remove()
    wait_until(lambda: not provided(cluster), "all nodes are given back")


def provided(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        cluster.kubectl("get", "nodes", "-l", "batchai.dev/provided", "-o", "json")
    )["items"]
    return found


def grows(space: Space, **scale: Any) -> None:
    space.make_cluster("grows", scale, vmSize=VM_SIZE, tolerations=TOLERATIONS)


def job(space: Space, name: str, seconds: float, **spec: Any) -> dict[str, Any]:
    """A job that KWOK ends after some seconds."""
    ends = [{"name": "BENCH_RUNS_FOR", "value": f"{seconds}s"}]
    return space.manifest(name, "true", cluster="grows", environmentVariables=ends, **spec)


def waits_for(space: Space, name: str) -> str:
    message: str = (space.job(name).get("status", {}).get("waiting") or {}).get("message", "")
    return message


def succeeds(space: Space, *names: str) -> None:
    for name in names:
        assert space.finished(name)["status"]["executionState"] == "succeeded"


def test_nodes_come_for_jobs_and_go_when_nobody_needs_them(space: Space, nodes: Provider) -> None:
    nodes.delay = 8
    grows(space, autoScale={"minimumNodeCount": 0, "maximumNodeCount": 3})
    space.cluster.apply(job(space, "two", 4, nodeCount=2), job(space, "one", 4))
    space.wait_until(lambda: "0 of 0 idle, 3 missing" in waits_for(space, "one") + waits_for(space, "two"), "why")
    status = space.cluster.get("bcluster", "grows", space.namespace)["status"]
    assert (status["allocationState"], status["currentNodeCount"]) == ("resizing", 0)
    space.wait_until(lambda: space.counts("grows").get("running") == 3, "three nodes run jobs")
    succeeds(space, "one", "two")
    space.wait_until(lambda: not provided(space.cluster), "all nodes go back")
    assert (len(nodes.made), space.counts("grows")["total"]) == (3, 0)
    space.scale("grows", autoScale={"minimumNodeCount": 1, "maximumNodeCount": 3})
    space.wait_until(lambda: space.counts("grows").get("idle") == 1, "the minimum comes")
    space.cluster.apply(job(space, "again", 1, nodeCount=3))
    succeeds(space, "again")
    space.wait_until(lambda: len(provided(space.cluster)) == 1, "the minimum stays")
    assert space.counts("grows")["idle"] == 1


def test_out_of_quota_is_said_and_over_when_the_quota_grows(space: Space, nodes: Provider) -> None:
    nodes.limit = 1
    grows(space, autoScale={"minimumNodeCount": 0, "maximumNodeCount": 3})
    space.cluster.apply(job(space, "wide", 1, nodeCount=2))
    space.wait_until(lambda: "1 of 1 idle, 1 missing" in waits_for(space, "wide"), "the job says what it lacks")
    space.expect_no_more_nodes("grows")
    space.wait_until(lambda: _errors(space), "the cluster has an error")
    (error,) = _errors(space)
    assert error["code"] == "NodesUnavailable"
    assert "nodes are available" in json.dumps(error), "the scheduler's own words"
    nodes.limit = 2
    succeeds(space, "wide")
    space.wait_until(lambda: not _errors(space), "the error is over")


def _errors(space: Space) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = space.cluster.get("bcluster", "grows", space.namespace)["status"].get("errors", [])
    return found


def test_a_node_that_fails_is_replaced(space: Space, nodes: Provider) -> None:
    nodes.failing = True
    grows(space, autoScale={"minimumNodeCount": 1, "maximumNodeCount": 3})
    space.wait_until(lambda: nodes.made, "a node that never gets ready")
    nodes.failing = False
    space.wait_until(lambda: space.counts("grows").get("idle") == 1, "another one comes in its place")
    second = nodes.made[1]
    assert [node["metadata"]["name"] for node in provided(space.cluster)] == [second]
    broken = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Broken"}]}}
    place = ("node", second, "--subresource=status", "--type", "strategic")
    space.cluster.kubectl("patch", *place, "-p", json.dumps(broken))
    space.wait_until(lambda: _errors(space), "the cluster says which node is bad")
    assert _errors(space)[0]["message"] == f"Node {second} is not ready"
    space.wait_until(lambda: len(nodes.made) == 3 and space.counts("grows").get("idle") == 1, "a third one comes")
    space.cluster.apply(job(space, "runs", 1))
    succeeds(space, "runs")
    assert space.job("runs")["status"]["attempts"][0]["nodes"] == [nodes.made[2]]


@pytest.mark.timeout(600)
def test_fifty_mixes_of_gangs_and_single_nodes_end(space: Space) -> None:
    grows(space, manual={"targetNodeCount": 3})
    space.wait_until(lambda: space.counts("grows").get("idle") == 3, "three nodes")
    chance = random.Random(7)  # noqa: S311 - the same mixes every time
    count = 0
    for mix in range(50):
        jobs = [
            job(
                space,
                f"mix-{mix}-{index}",
                chance.choice([0.1, 0.3, 0.5]),
                nodeCount=nodes,
                schedulingPriority=chance.choice(["low", "normal", "high"]),
            )
            for index, nodes in enumerate(chance.sample([1, 1, 2, 3], k=4))
        ]
        space.cluster.apply(*jobs)
        count += len(jobs)

    def ended() -> int:
        items = space.cluster.list("bjob", space.namespace)
        return sum(item.get("status", {}).get("executionState") == "succeeded" for item in items)

    wait_until(lambda: ended() == count, "all jobs end well", seconds=400)
