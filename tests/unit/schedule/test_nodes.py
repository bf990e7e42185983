from typing import Any

import pytest

from batchai.api.cluster import ClusterSpec, Toleration
from batchai.reconcile.slim import slim_node
from batchai.schedule.nodes import Membership, NodeCounts, count, fits, membership, state, view

CLUSTER = ("ns", "nc6")


def node(name: str, *, owner: tuple[str, str] | None = None, ready: bool = True, **options: Any) -> dict[str, Any]:
    labels = {"node.kubernetes.io/instance-type": "Standard_NC6", **options.get("labels", {})}
    conditions = {"Ready": "True" if ready else "False", **options.get("conditions", {})}
    if owner:
        labels |= {"batchai.dev/cluster-namespace": owner[0], "batchai.dev/cluster": owner[1]}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": options.get("cordoned", False), "taints": options.get("taints", [])},
        "status": {
            "allocatable": {"nvidia.com/gpu": str(options.get("gpus", 1))},
            "capacity": {"nvidia.com/gpu": str(options.get("capacity", options.get("gpus", 1)))},
            "conditions": [{"type": kind, "status": status} for kind, status in conditions.items()],
        },
    }


def spec(**fields: Any) -> ClusterSpec:
    return ClusterSpec.model_validate({"workspace": "w", "vmSize": "STANDARD_NC6", **fields})


def change(
    nodes: list[dict[str, Any]], target: int, held: dict[str, str] | None = None, *expendable: str
) -> Membership:
    views = [view(item) for item in nodes]
    return membership(views, CLUSTER, target=target, held=held or {}, expendable=expendable)


SPOT = {"kubernetes.azure.com/scalesetpriority": "spot"}
DRAIN = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}


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


def test_spot_nodes_are_for_low_priority_and_no_others_are() -> None:
    assert fits(node("a", labels=SPOT), spec(vmPriority="lowpriority"))
    assert not fits(node("a", labels=SPOT), spec())
    assert not fits(node("a"), spec(vmPriority="lowpriority"))


def test_gives_back_unusable_nodes_first_then_idle_ones_and_never_busy_ones() -> None:
    nodes = [node("a", owner=CLUSTER), node("b", owner=CLUSTER, ready=False), node("c", owner=CLUSTER)]
    assert change(nodes, 2).release == ("b",)
    assert change(nodes, 1, {"c": "job"}).release == ("b", "a")
    empty = change(nodes, 0, {"c": "job"})
    assert empty.release == ("b", "a")
    assert empty.leaving == {"c"}


def test_the_most_expendable_job_loses_its_nodes_first() -> None:
    nodes = [node(name, owner=CLUSTER) for name in "abcd"]
    held = {"a": "old", "b": "young", "c": "young", "d": "old"}
    assert change(nodes, 2, held, "young", "old").leaving == {"b", "c"}
    assert change(nodes, 1, held, "young", "old").leaving == {"a", "b", "c"}


def test_an_unusable_node_is_exchanged_when_another_one_is_free() -> None:
    nodes = [node("a", owner=CLUSTER, cordoned=True), node("b")]
    assert change(nodes, 1) == Membership(("b",), ("a",), frozenset())
    assert change(nodes[:1], 1) == Membership((), (), frozenset())
    assert change(nodes, 1, {"a": "job"}) == Membership((), (), frozenset())


def test_a_node_that_somebody_takes_away_leaves_and_is_replaced() -> None:
    nodes = [node("a", owner=CLUSTER, taints=[DRAIN]), node("b", owner=CLUSTER, taints=[DRAIN]), node("c")]
    assert change(nodes, 1, {"a": "job"}) == Membership(("c",), ("b",), frozenset({"a"}))


PROBLEMS = [
    ({"ready": False}, "is not ready"),
    ({"cordoned": True}, "is cordoned"),
    ({"gpus": 3, "capacity": 4}, "has 1 GPUs that its device plugin calls unhealthy"),
    ({"taints": [{"key": "theirs", "effect": "NoSchedule"}]}, "has the taint theirs"),
    ({"taints": [{"key": "batchai.dev/gpu-unhealthy", "effect": "NoSchedule"}]}, "has a sick GPU"),
]


@pytest.mark.parametrize(("options", "text"), PROBLEMS)
def test_why_a_node_is_unusable_is_said(options: dict[str, Any], text: str) -> None:
    found = view(node("a", **options))
    assert found.problem is not None
    assert found.problem.startswith(text)
    assert not found.usable


def test_taints_that_the_clusters_tolerations_name_keep_nobody_off() -> None:
    tainted = node("a", taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}])
    assert view(tainted, [Toleration(key="sku", operator="Equal", value="gpu")]).usable
    assert view(tainted, [Toleration(operator="Exists")]).usable
    assert not view(tainted, [Toleration(key="sku", value="cpu")]).usable
    assert view(node("a", taints=[{"key": "batchai.dev/cluster", "effect": "NoSchedule"}])).usable


def test_a_preemption_notice_takes_the_node_away() -> None:
    found = view(node("a", conditions={"PreemptScheduled": "True"}))
    assert found.preempted
    assert state(found, busy=True, leaving=False) == "leaving"
    assert not view(node("a", conditions={"PreemptScheduled": "False"})).preempted


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, False),
        ({"batchai.dev/gpu-count": "8"}, True),
        ({"batchai.dev/gpu-count": "0", "nvidia.com/gpu.present": "true"}, False),
        ({"batchai.dev/gpu-count": "all"}, False),
        ({"nvidia.com/gpu.present": "true"}, True),
        ({"karpenter.k8s.aws/instance-gpu-count": "1", "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia"}, True),
        ({"karpenter.k8s.aws/instance-gpu-count": "1", "karpenter.k8s.aws/instance-gpu-manufacturer": "amd"}, False),
        ({"karpenter.azure.com/sku-gpu-manufacturer": "nvidia"}, True),
        ({"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}, True),
    ],
)
def test_a_node_of_any_cloud_waits_for_its_gpus(labels: dict[str, str], expected: bool) -> None:
    found = slim_node(node("a", gpus=0, labels={"node.kubernetes.io/instance-type": "p3.2xlarge", **labels}))
    assert view(found).gpus_expected == expected
    assert view(found).usable != expected
    assert state(view(found), busy=False, leaving=False) == ("preparing" if expected else "idle")


def test_an_administrator_may_say_that_a_gpu_size_has_none() -> None:
    assert not view(node("a", gpus=0)).usable
    assert view(node("a", gpus=0, labels={"batchai.dev/gpu-count": "0"})).usable


def test_states() -> None:
    def found(item: dict[str, Any], **facts: bool) -> str:
        return state(view(item), **{"busy": False, "leaving": False, **facts})

    states = [
        found(node("idle")),
        found(node("busy"), busy=True),
        found(node("cold", gpus=0)),
        found(node("new"), ready=False),
        found(node("dead", ready=False)),
        found(node("failed"), failed=True),
        found(node("going"), busy=True, leaving=True),
    ]
    assert count(states) == NodeCounts(idle=1, running=1, preparing=2, unusable=2, leaving=1)
    assert count(states).total == 7
