"""A FileServer's status from its pod and its Services (Batch AI reference §1.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchai.api.fileserver import FileServer, MountSettings
from batchai.plan.file_server import EXPORT, SERVER_CONTAINER
from batchai.status import provisioning


@dataclass(frozen=True)
class Observed:
    """What there is of a server: its address in the cluster, the load balancer's if it has one, and its pod.

    refused: why there is no load balancer, in the API's words.
    """

    internal_ip: str | None
    public_ip: str | None
    pod: Mapping[str, Any] | None
    refused: str | None = None


def status(server: FileServer, observed: Observed, now: datetime) -> provisioning.Status:
    """Succeeded from the first time that it serves; the Ready condition says whether it does now, and else why not."""
    problem = _problem(observed.pod)
    mount = MountSettings(
        mount_point=EXPORT,
        file_server_public_ip=observed.public_ip,
        file_server_internal_ip=observed.internal_ip,
    )
    known = server.model_copy(update={"status": server.status.model_copy(update={"mount_settings": mount})})
    if problem is not None:
        return unserved(known, *problem, now)
    if observed.refused is not None:
        message = f"it serves in the cluster, but its load balancer was refused: {observed.refused}"
        return provisioning.degraded(known, "LoadBalancerRefused", message, now)
    return provisioning.succeeded(known, now)


def unserved(server: FileServer, reason: str, message: str, now: datetime) -> provisioning.Status:
    """It does not serve: not yet, or not any more."""
    if server.status.provisioning_state == "succeeded":
        return provisioning.degraded(server, reason, message, now)
    return provisioning.creating(server, reason, message, now)


def _problem(pod: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Why the server does not answer: a reason and a sentence; None if it does."""
    if pod is None:
        return "PodMissing", "its pod is being made"
    if "deletionTimestamp" in pod["metadata"]:
        return "PodEnding", (
            f"its pod on node {pod['spec'].get('nodeName', '')} is ending; if that node is gone for good, delete the "
            "Node or taint it node.kubernetes.io/out-of-service, so that the disk may go to another one"
        )
    conditions = {condition["type"]: condition for condition in pod.get("status", {}).get("conditions", [])}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return "Unschedulable", f"its pod waits for a node or its claim: {scheduled.get('message', '')}"
    for container in pod.get("status", {}).get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("message"):
            return "ContainerWaiting", f"container {container['name']}: {waiting['reason']}: {waiting['message']}"
    return "NotServing", f"container {SERVER_CONTAINER} does not answer yet"
