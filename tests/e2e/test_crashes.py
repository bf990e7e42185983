"""The operator fails at each of its writes in turn; a job's life is the one that it has without (docs/design.md)."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.crashes import NAME, Fault, Plan, Proxy, operator
from tests.e2e.jobs import OPERATOR, Cluster, Space, Storage

JOB = "life"
LINES = "$AZ_BATCHAI_OUTPUT_MODEL/lines"
HISTORY = {"Started", "Running"}
"""Conditions that say whether the operator saw the pods run: not if they ran while it was away."""
TRIES = 5
"""Lives for a fault whose write does not come in each of them: who is quicker decides over some."""


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=2)
    space.wait_until(
        lambda: space.cluster.get("bcluster", "nc6", space.namespace).get("status", {}).get("currentNodeCount") == 2,
        "the cluster has its nodes",
    )
    yield space
    space.remove()


@pytest.fixture(scope="module", autouse=True)
def _no_operator_in_the_cluster(space: Space) -> Iterator[None]:
    with space.operator_stopped():
        yield


@pytest.mark.crashes
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("nodes", "fault"),
    [
        (1, Fault.KILLED_BEFORE_ANSWER),
        (1, Fault.KILLED_AFTER_ANSWER),
        (1, Fault.ANSWER_LOST),
        (2, Fault.KILLED_BEFORE_ANSWER),
    ],
)
async def test_a_fault_at_any_write_changes_nothing(space: Space, tmp_path: Path, nodes: int, fault: Fault) -> None:
    async with operator(space.cluster, tmp_path) as proxy:
        await asyncio.to_thread(_fail_everywhere, space, proxy, nodes, fault)


async def test_an_orderly_end_gives_the_lease_back(space: Space, tmp_path: Path) -> None:
    async with operator(space.cluster, tmp_path):
        await asyncio.to_thread(_live, space, 1, _objects(space))
        assert space.cluster.get("lease", NAME, OPERATOR)["spec"]["holderIdentity"] == "local"
    assert space.cluster.get("lease", NAME, OPERATOR)["spec"]["holderIdentity"] == ""


def _fail_everywhere(space: Space, proxy: Proxy, nodes: int, fault: Fault) -> None:
    before = _objects(space)

    def live(plan: Plan | None) -> dict[str, Any]:
        proxy.expect(plan)
        return _live(space, nodes, before)

    undisturbed = live(None)
    first = Counter(proxy.writes)
    assert live(None) == undisturbed
    # How often a status is written differs from life to life, and pods are also deleted by Kubernetes itself.
    always = first & Counter(proxy.writes)
    for plan in (Plan(write, nth, fault) for write, times in always.items() for nth in range(1, times + 1)):
        for _ in range(TRIES):
            assert live(plan) == undisturbed, plan
            if proxy.done:
                break
        else:
            pytest.fail(f"the write did not come in {TRIES} lives: {plan}")


def _live(space: Space, nodes: int, before: set[str]) -> dict[str, Any]:
    """A job from its submission until nothing of it is left; what there was when it had ended."""
    prepare = {"commandLine": f"echo prepared >>{LINES}"}
    space.submit(JOB, f"echo ran >>{LINES}", nodeCount=nodes, jobPreparation=prepare)
    job = space.finished(JOB)
    space.wait_until(lambda: _settled(space), "the pods are released, and the nodes idle")
    uid = job["metadata"]["uid"]
    peers = {f"pod/{JOB}-1-{index}" for index in range(1, nodes)}  # they stay only if they end before the master
    end = {
        "status": _lasting(space.job(JOB)["status"], uid),
        "objects": {name.replace(uid[:8], "UID") for name in _objects(space) - before - peers},
        "lines": space.read_output(JOB, "outputs/lines").decode().split(),
    }
    assert end["status"]["executionState"] == "succeeded", json.dumps(job["status"], indent=1)
    assert end["lines"] == ["prepared"] * nodes + ["ran"]
    space.cluster.kubectl("delete", "bjob", JOB, "-n", space.namespace, "--timeout=30s")
    space.wait_until(lambda: _objects(space) == before, "nothing of the job is left")
    return end


def _objects(space: Space) -> set[str]:
    """Whatever an operator makes for a job, by kind and name."""
    kinds = "pods,services,secrets,persistentvolumeclaims"
    return set(space.cluster.kubectl("get", kinds, "-n", space.namespace, "-o", "name").split())


def _settled(space: Space) -> bool:
    counts = space.cluster.get("bcluster", "nc6", space.namespace)["status"]["nodeStateCounts"]
    held = [pod for pod in space.pods(JOB) if pod["metadata"].get("finalizers")]
    return not held and counts["runningNodeCount"] == 0


def _lasting(status: dict[str, Any], uid: str) -> dict[str, Any]:
    """A status without times, UIDs, and what was or was not seen on the way."""
    kept = status | {"conditions": [item for item in status["conditions"] if item["type"] not in HISTORY]}
    timeless: dict[str, Any] = json.loads(json.dumps(kept).replace(uid, "UID"), object_hook=_without_times)
    return timeless


def _without_times(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if not name.endswith("Time")}
