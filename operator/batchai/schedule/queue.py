"""The queue in front of a cluster (Batch AI reference §7): order, reservation, and why a job waits.

A job gets nodeCount whole nodes at once or none; priority first, then first come. Nothing overtakes a job
that waits for nodes, so no job starves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

_PRIORITIES = {"high": 0, "normal": 1, "low": 2}


@dataclass(frozen=True)
class QueuedJob:
    """What the queue must know of a job that waits; name is unique in the cluster's namespace."""

    name: str
    priority: str
    created: datetime
    node_count: int


@dataclass(frozen=True)
class Decision:
    """started: job name → its nodes, master first; waiting: the names of the rest, in the queue's order."""

    started: Mapping[str, tuple[str, ...]]
    waiting: tuple[str, ...]


def order(jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
    """The queue's order: priority, then time of creation, then name (times have whole seconds)."""
    return sorted(jobs, key=lambda job: (_PRIORITIES[job.priority], job.created, job.name))


def assign(jobs: Sequence[QueuedJob], idle: Sequence[str]) -> Decision:
    """Gives idle nodes to the first jobs of the queue until one does not fit."""
    free = sorted(idle)
    started: dict[str, tuple[str, ...]] = {}
    queue = order(jobs)
    for position, job in enumerate(queue):
        if job.node_count > len(free):
            return Decision(started, tuple(waiting.name for waiting in queue[position:]))
        started[job.name] = tuple(free[: job.node_count])
        free = free[job.node_count :]
    return Decision(started, ())


def waiting_message(
    job: QueuedJob, position: int, *, idle: int, running: Mapping[str, int], total: int, maximum: int
) -> tuple[str, str]:
    """Why the job at `position` (from 1) waits, as a CamelCase reason and plain words.

    running: job name → nodes that it holds; total: nodes of the cluster; maximum: nodes that it may grow to.
    """
    nodes = f"{job.node_count} node" + ("s" if job.node_count > 1 else "")
    if job.node_count > maximum:
        return (
            "ClusterTooSmall",
            f"needs {nodes}, but the cluster has at most {maximum}: resize the cluster or lower nodeCount",
        )
    if position > 1:
        return "BehindOthers", f"waits for {nodes}: {position - 1} earlier in the queue"
    holders = ", ".join(f"{held} run{'s' if held == 1 else ''} {name}" for name, held in running.items())
    state = f"{idle} of {total} idle" + (f", {holders}" if holders else "")
    return "WaitingForNodes", f"waits for {nodes}: {state}"
