"""The node's side: how many GPUs it should have, whether pods use them, its condition and its taint."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from batchai.api import names
from batchai.gpu.verdict import Standing, Verdict

_COUNT_LABELS = (names.LABEL_GPU_COUNT, "karpenter.azure.com/sku-gpu-count")
_NVIDIA = "nvidia.com/"
_TIME = "%Y-%m-%dT%H:%M:%SZ"

Raw = Mapping[str, Any]


def expected_gpus(node: Raw) -> int:
    """What a label says of the machine; otherwise what the device plugin advertised at its best.

    A plugin that shares GPUs or splits them (labels of NVIDIA's feature discovery) does not tell their number.
    """
    labels = node["metadata"].get("labels", {})
    for label in _COUNT_LABELS:
        if labels.get(label, "").isdecimal():
            return int(labels[label])
    advertised = int(node.get("status", {}).get("capacity", {}).get(names.GPU_RESOURCE, "0"))
    divided = labels.get("nvidia.com/gpu.replicas", "1") not in {"0", "1"}
    divided = divided or labels.get("nvidia.com/mig.strategy") == "single"
    return min(advertised, 1) if divided else advertised


def uses_gpus(pod: Raw) -> bool:
    """The pod has not ended, and may have GPUs: as an NVIDIA resource of a container, or by a resource claim."""
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return False
    spec = pod["spec"]
    containers = (*spec.get("initContainers", ()), *spec["containers"])
    limits = (name for container in containers for name in container.get("resources", {}).get("limits", ()))
    return bool(spec.get("resourceClaims")) or any(name.startswith(_NVIDIA) for name in limits)


def standing(node: Raw) -> Standing | None:
    """The verdict that the node carries."""
    found = _condition(node)
    if found is None:
        return None
    verdict = Verdict(found["status"], found.get("reason", ""), found.get("message", ""))
    return Standing(verdict, datetime.fromisoformat(found["lastHeartbeatTime"]))


def status_patch(node: Raw, verdict: Verdict, now: datetime) -> dict[str, Any]:
    """A merge patch of the node's status; empty if its condition says this already.

    lastHeartbeatTime is when the verdict was written, not when the GPUs were looked at: a beat would be a write.
    """
    known = _condition(node)
    if known is not None and Verdict(known["status"], known.get("reason", ""), known.get("message", "")) == verdict:
        return {}
    written = now.strftime(_TIME)
    since = known["lastTransitionTime"] if known is not None and known["status"] == verdict.status else written
    condition = {
        "type": names.CONDITION_GPU_HEALTHY,
        "status": verdict.status,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastHeartbeatTime": written,
        "lastTransitionTime": since,
    }
    others = [item for item in _conditions(node) if item["type"] != names.CONDITION_GPU_HEALTHY]
    return {"status": {"conditions": [*others, condition]}}


def taint_patch(node: Raw, verdict: Verdict) -> dict[str, Any]:
    """A merge patch that brings our taint in step with the verdict; empty if it is. Other taints stay."""
    taints = node.get("spec", {}).get("taints", [])
    others = [taint for taint in taints if taint["key"] != names.TAINT_GPU_UNHEALTHY]
    ours = [{"key": names.TAINT_GPU_UNHEALTHY, "effect": "NoSchedule"}] if verdict.status == "False" else []
    if len(taints) == len(others) + len(ours):
        return {}
    return {"spec": {"taints": [*others, *ours] or None}}


def _conditions(node: Raw) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = node.get("status", {}).get("conditions", [])
    return conditions


def _condition(node: Raw) -> dict[str, Any] | None:
    """The condition, unless somebody wrote it without a time: then it is not the agent's."""
    ours = (item for item in _conditions(node) if item["type"] == names.CONDITION_GPU_HEALTHY)
    return next((item for item in ours if item.get("lastHeartbeatTime")), None)
