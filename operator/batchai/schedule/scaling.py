"""How many nodes a cluster wants (Batch AI reference §1.2, §7)."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchai.api.cluster import AutoScaleSettings, Cluster, ScaleSettings
from batchai.schedule.queue import QueuedJob


@dataclass(frozen=True)
class Target:
    """nodes: how many are wanted now; idle_since: since when there are more than jobs need, of an autoscaled cluster.

    look_again: when that many will be too many.
    """

    nodes: int
    idle_since: datetime | None = None
    look_again: timedelta | None = None


def demand(held: Mapping[str, str], waiting: Sequence[QueuedJob], sound: Collection[str]) -> int:
    """Nodes that jobs need at once: those that are held, and nodeCount of each that waits.

    held: node → job; sound: the nodes that could run jobs. A requeued job whose former pods have not ended yet will
    have their nodes again: it needs no others beside them.
    """
    avoided = {job.name: job.avoids for job in waiting}
    again = Counter(job for node, job in held.items() if job in avoided and node in sound and node not in avoided[job])
    return len(held) + sum(job.node_count - min(job.node_count, again[job.name]) for job in waiting)


def target(cluster: Cluster, *, demand: int, own: int, now: datetime, useless: int = 0) -> Target:
    """Nodes wanted now. demand: nodes that queued and running jobs need; own: nodes that the cluster has.

    useless: those of its own on which nothing that waits can run; an autoscaled cluster gets others besides them.
    """
    settings = cluster.spec.scale_settings
    if settings is None:
        return Target(0)
    if settings.manual is not None:
        return Target(settings.manual.target_node_count)
    assert settings.auto_scale is not None  # noqa: S101 - the CRD wants one of the two
    return _automatic(settings.auto_scale, cluster, demand=demand, own=own, useless=useless, now=now)


def _automatic(
    settings: AutoScaleSettings, cluster: Cluster, *, demand: int, own: int, useless: int, now: datetime
) -> Target:
    initial = settings.initial_node_count if cluster.status.first_job_time is None else 0
    most = settings.maximum_node_count
    wanted = max(settings.minimum_node_count, initial, demand)
    wanted = min(wanted + useless if wanted else 0, most)
    if own <= wanted:
        return Target(wanted)
    since = cluster.status.idle_since or now
    left = since + timedelta(seconds=settings.idle_timeout_seconds) - now
    if left > timedelta(0):
        return Target(min(own, most), since, left)
    return Target(wanted, since)


def maximum(settings: ScaleSettings | None) -> int:
    """The most nodes that the cluster can have without a change of its settings."""
    if settings is None:
        return 0
    if settings.manual is not None:
        return settings.manual.target_node_count
    return settings.auto_scale.maximum_node_count if settings.auto_scale is not None else 0


def deallocation(settings: ScaleSettings | None) -> str:
    """What happens to jobs on nodes that leave: requeue, terminate or waitforjobcompletion.

    Nodes that an autoscaled cluster gives back were idle; only a lowered maximum meets busy ones: they wait.
    """
    if settings is not None and settings.manual is not None:
        return settings.manual.node_deallocation_option
    return "waitforjobcompletion"
