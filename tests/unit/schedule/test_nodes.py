from typing import Any

import pytest

from batchai.api.cluster import ClusterSpec
from batchai.schedule.nodes import NodeCounts, count, fits, membership, view

CLUSTER = ("ns", "nc6")


def node(name: str, *, owner: tuple[str, str] | None = None, ready: bool = True, **options: Any) -> dict[str, Any]:
    labels = {"node.kubernetes.io/instance-type": "Standard_NC6", **options.get("labels", {})}
    if owner:
        labels |= {"batchai.dev/cluster-namespace": owner[0], "batchai.dev/cluster": owner[1]}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": options.get("cordoned", False)},
        "status": {
            "allocatable": {"nvidia.com/gpu": str(options.get("gpus", 1))},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def spec(**fields: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({"workspace": "w", "vmSize": "STANDARD_NC6", **fields})


def change(nodes: list[dict[str, Any]], target: int, busy: set[str] | None = None):
    return membership([view(item) for item in nodes], CLUSTER, target=target, busy=frozenset(busy or ()))


def test_vm_size_matches_in_any_case_and_the_selector_narrows() -> None:
    assert fits(node("a"), spec())
    assert not fits(node("a"), spec(vmSize="Standard_NC12"))
    assert not fits(node("a"), spec(nodeSelector={"pool": "x"}))
    assert fits(node("a", labels={"pool": "x"}), spec(nodeSelector={"pool": "x"}))


def test_claims_free_nodes_up_to_the_target() -> None:
    nodes = [node("c"), node("a"), node("b", owner=("ns", "other")), node("d", owner=CLUSTER)]
    assert change(nodes, 2).claim == ("a",)
    assert change(nodes, 9).claim == ("a", "c")


@pytest.mark.parametrize("state", [{"ready": False}, {"cordoned": True}, {"gpus": 0}])
def test_a_node_that_cannot_run_jobs_is_not_claimed(state: dict[str, Any]) -> None:
    assert change([node("a", **state)], 1).claim == ()


def test_gives_back_unusable_nodes_first_then_idle_ones_and_never_busy_ones() -> None:
    nodes = [node("a", owner=CLUSTER), node("b", owner=CLUSTER, ready=False), node("c", owner=CLUSTER)]
    assert change(nodes, 2).release == ("b",)
    assert change(nodes, 1, {"c"}).release == ("b", "a")
    empty = change(nodes, 0, {"c"})
    assert empty.release == ("b", "a")
    assert empty.leaving == {"c"}


def test_states() -> None:
    nodes = [
        node("idle"),
        node("busy"),
        node("cold", gpus=0),
        node("dead", ready=False),
        node("going"),
    ]
    counts = count(map(view, nodes), busy=frozenset({"busy", "going"}), leaving=frozenset({"going"}))
    assert counts == NodeCounts(idle=1, running=1, preparing=1, unusable=1, leaving=1)
