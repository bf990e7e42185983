"""What people and metrics are told of a status that was written: at most one Kubernetes Event for each write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchai.api.base import Model
from batchai.api.cluster import ClusterStatus
from batchai.api.job import JobStatus, RetryPolicy
from batchai.status.conditions import find, is_true
from batchai.status.job import STARTED

NOTE_BYTES = 1024
"""The API server's limit."""
_NAMED_NODES = 4


@dataclass(frozen=True)
class Notice:
    """An Event without its object: a CamelCase reason, a note within NOTE_BYTES, and whether something is wrong."""

    reason: str
    note: str
    warning: bool = False


def notice(item: Mapping[str, Any], before: Model, after: Model) -> Notice | None:
    """What is worth telling of an object's status that became another one; None for most of what changes."""
    if isinstance(before, JobStatus) and isinstance(after, JobStatus):
        return _of_job(item["spec"], before, after)
    if isinstance(before, ClusterStatus) and isinstance(after, ClusterStatus):
        return _of_cluster(before, after)
    return None


def first_start(before: Model, after: Model) -> datetime | None:
    """When all containers of a job's first attempt had started, if that is what `after` adds."""
    if not isinstance(before, JobStatus) or not isinstance(after, JobStatus) or after.attempt != 1:
        return None
    condition = find(after.conditions, STARTED)
    if condition is None or condition.status != "True" or is_true(before.conditions, STARTED):
        return None
    return condition.last_transition_time


def _of_job(spec: Mapping[str, Any], before: JobStatus, after: JobStatus) -> Notice | None:
    if after.execution_state == before.execution_state:
        return None
    match after.execution_state:
        case "running":
            return _notice("AttemptStarted", f"Attempt {after.attempt} started on {_listed(after.nodes or [])}")
        case "queued" if before.execution_state is not None:
            end = _failed(spec, after) if (after.retries or 0) > (before.retries or 0) else "did not count"
            return _notice("Requeued", f"Attempt {after.attempt} {end}: {_why(after)}", warning=True)
        case "succeeded":
            return _notice("Succeeded", f"Succeeded in attempt {after.attempt}{_duration(after)}")
        case "failed":
            code, message = _error(after)
            return _notice("Failed", f"{code}: {message}{_exit(after)}", warning=code != "JobTerminated")
    return None


def _of_cluster(before: ClusterStatus, after: ClusterStatus) -> Notice | None:
    nodes, had = after.current_node_count or 0, before.current_node_count or 0
    unusable = _unusable(after)
    said = []
    if unusable > _unusable(before):
        said.append(("NodesUnusable", f"{unusable} of {nodes} nodes cannot run jobs{_node_errors(after)}"))
    if nodes != had:
        said.append(("NodesAdded" if nodes > had else "NodesRemoved", f"from {had} to {nodes} nodes"))
    if not said:
        return None
    return _notice(said[0][0], "; ".join(note for _, note in said), warning=said[0][0] == "NodesUnusable")


def _notice(reason: str, note: str, *, warning: bool = False) -> Notice:
    cut = note.encode()
    if len(cut) > NOTE_BYTES:
        note = cut[: NOTE_BYTES - 3].decode(errors="ignore") + "…"
    return Notice(reason, note, warning)


def _listed(nodes: Sequence[str]) -> str:
    named = ", ".join(nodes[:_NAMED_NODES])
    return named if len(nodes) <= _NAMED_NODES else f"{named} and {len(nodes) - _NAMED_NODES} more"


def _failed(spec: Mapping[str, Any], status: JobStatus) -> str:
    limit = RetryPolicy.model_validate(spec.get("retryPolicy") or {}).limit
    return f"failed, retry {status.retries} of {limit} follows"


def _why(status: JobStatus) -> str:
    return f"{status.waiting.reason}: {status.waiting.message}" if status.waiting else "waits for its next one"


def _duration(status: JobStatus) -> str:
    info = status.execution_info
    if info is None or info.start_time is None or info.end_time is None:
        return ""
    return f" after {(info.end_time - info.start_time).total_seconds():.0f} s"


def _error(status: JobStatus) -> tuple[str, str]:
    errors = status.execution_info.errors if status.execution_info else None
    return (errors[0].code, errors[0].message) if errors else ("JobFailed", "Job failed")


def _exit(status: JobStatus) -> str:
    code = status.execution_info.exit_code if status.execution_info else None
    return "" if code is None else f" (exit code {code})"


def _node_errors(status: ClusterStatus) -> str:
    """What the errors say that name a node; others are about nodes that are not there."""
    named = [
        error.message for error in status.errors or [] if any(detail.name == "Node" for detail in error.details or [])
    ]
    return f": {'; '.join(named)}" if named else ""


def _unusable(status: ClusterStatus) -> int:
    return status.node_state_counts.unusable_node_count if status.node_state_counts else 0
