"""The node's side of a verdict: labels and capacity in, patches out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from batchai.gpu.node import expected_gpus, standing, status_patch, taint_patch, uses_gpus
from batchai.gpu.verdict import Standing, Verdict

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LATER = datetime(2026, 5, 4, 4, 2, 1, tzinfo=UTC)
SICK = Verdict("False", "EccErrors", "GPU 0: uncorrectable memory errors: 1")
WELL = Verdict("True", "Healthy", "GPUs that are well: 1")
READY = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-05-04T03:00:00Z"}
OTHER = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
OURS = {"key": "batchai.dev/gpu-unhealthy", "effect": "NoSchedule"}


def node(labels: dict[str, str] | None = None, **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": "n", "labels": labels or {}}, **parts}


@pytest.mark.parametrize(
    ("labels", "advertised", "expected"),
    [
        ({}, None, 0),
        ({}, "4", 4),
        ({"batchai.dev/gpu-count": "8", "karpenter.azure.com/sku-gpu-count": "4"}, "3", 8),
        ({"karpenter.azure.com/sku-gpu-count": "4"}, "3", 4),
        ({"batchai.dev/gpu-count": "all"}, "3", 3),
        ({"nvidia.com/gpu.replicas": "1", "nvidia.com/mig.strategy": "mixed"}, "3", 3),
        ({"nvidia.com/gpu.replicas": "10"}, "40", 1),
        ({"nvidia.com/mig.strategy": "single"}, "7", 1),
        ({"nvidia.com/mig.strategy": "single"}, "0", 0),
    ],
)
def test_how_many_gpus_there_should_be(labels: dict[str, str], advertised: str | None, expected: int) -> None:
    capacity = {"nvidia.com/gpu": advertised} if advertised else {}
    assert expected_gpus(node(labels, status={"capacity": capacity})) == expected


@pytest.mark.parametrize(
    ("spec", "phase", "uses"),
    [
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}, "Running", True),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}, "Succeeded", False),
        ({"containers": [{"resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}]}, "Pending", True),
        ({"containers": [{}], "initContainers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}, "Running", True),
        ({"containers": [{}], "resourceClaims": [{"name": "gpu"}]}, "Running", True),
        ({"containers": [{"resources": {"limits": {"cpu": "1"}}}, {}]}, "Running", False),
    ],
)
def test_pods_with_gpus(spec: dict[str, Any], phase: str, *, uses: bool) -> None:
    assert uses_gpus({"spec": spec, "status": {"phase": phase}}) is uses


def test_the_condition_is_written_when_it_changes_and_others_stay() -> None:
    before = node(status={"conditions": [READY]})
    patch = status_patch(before, SICK, NOW)
    first, ours = patch["status"]["conditions"]
    assert first == READY
    assert (ours["type"], ours["lastTransitionTime"]) == ("batchai.dev/GpuHealthy", "2026-05-04T03:02:01Z")
    after = node(**patch)
    assert standing(after) == Standing(SICK, NOW)
    assert status_patch(after, SICK, LATER) == {}
    worse = Verdict("False", "GpuLost", "GPU 0: GPU is lost")
    (_, changed) = status_patch(after, worse, LATER)["status"]["conditions"]
    assert (changed["lastTransitionTime"], changed["lastHeartbeatTime"]) == (
        "2026-05-04T03:02:01Z",
        "2026-05-04T04:02:01Z",
    )
    (_, well) = status_patch(after, WELL, LATER)["status"]["conditions"]
    assert well["lastTransitionTime"] == "2026-05-04T04:02:01Z"


def test_a_new_node_carries_nothing() -> None:
    assert standing(node(status={"conditions": [READY]})) is None


def test_a_condition_that_the_agent_did_not_write_is_replaced() -> None:
    foreign = {"type": "batchai.dev/GpuHealthy", "status": "False", "lastHeartbeatTime": None}
    before = node(status={"conditions": [foreign, READY]})
    assert standing(before) is None
    (first, ours) = status_patch(before, WELL, NOW)["status"]["conditions"]
    assert (first, ours["status"], ours["lastTransitionTime"]) == (READY, "True", "2026-05-04T03:02:01Z")


@pytest.mark.parametrize(
    ("taints", "verdict", "patch"),
    [
        (None, SICK, {"spec": {"taints": [OURS]}}),
        ([OTHER], SICK, {"spec": {"taints": [OTHER, OURS]}}),
        ([OURS, OTHER], SICK, {}),
        ([OURS, OTHER], WELL, {"spec": {"taints": [OTHER]}}),
        ([OURS], WELL, {"spec": {"taints": None}}),
        ([OURS], Verdict("Unknown", "NoGpu", ""), {"spec": {"taints": None}}),
        ([OTHER], WELL, {}),
        (None, WELL, {}),
    ],
)
def test_the_taint_follows_and_others_stay(
    taints: list[dict[str, str]] | None, verdict: Verdict, patch: dict[str, Any]
) -> None:
    spec = {} if taints is None else {"taints": taints}
    assert taint_patch(node(spec=spec), verdict) == patch
