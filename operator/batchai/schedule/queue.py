"""The queue in front of a cluster (Batch AI reference §7): order, reservation, backfill, and why a job waits.

A job gets nodeCount whole nodes at once or none; priority first, then first come. The first job that must wait, for
nodes or because it may not start yet, has a reservation: a later one may pass it only on nodes that it will not need,
in whatever order the running jobs end (docs/scheduling.md). So it starts as early as if nobody had passed it, and every
job comes to be the first.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice

_PRIORITIES = {"high": 0, "normal": 1, "low": 2}
_EXACT_POSITIONS = 10
_NAMED_HOLDERS = 5


@dataclass(frozen=True)
class QueuedJob:
    """What the queue must know of a job that waits; name is unique in the cluster's namespace.

    avoids: nodes that the job may not get again; last: those of an attempt that broke, which it gets if there are no
    others.
    """

    name: str
    priority: str
    created: datetime
    node_count: int
    avoids: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()

    @cached_property
    def rank(self) -> tuple[int, float, str]:
        """Its place among others: priority, then time of creation, then name (times have whole seconds)."""
        return _PRIORITIES[self.priority], self.created.timestamp(), self.name


@dataclass(frozen=True)
class Decision:
    """started: job name → its nodes, master first; waiting: the names of the rest, in the queue's order."""

    started: Mapping[str, tuple[str, ...]]
    waiting: tuple[str, ...]


@dataclass
class _Reservation:
    """The first job that waits, and how many of the idle nodes that suit it others may still take."""

    job: QueuedJob
    spare: int


class _Pool:
    """The nodes while they are handed out.

    free: by name, in order; held: groups of nodes that will come back together; total: all of both.
    """

    def __init__(self, free: Sequence[str], held: Sequence[Collection[str]]) -> None:
        self.free = dict.fromkeys(sorted(free))
        self.held = list(held)
        self.total = len(free) + sum(map(len, held))
        self.started: dict[str, tuple[str, ...]] = {}

    def start(self, job: QueuedJob, nodes: Sequence[str]) -> None:
        for node in nodes:
            del self.free[node]
        self.held.append(nodes)
        self.started[job.name] = tuple(nodes)


def order(jobs: Iterable[QueuedJob]) -> list[QueuedJob]:
    """The queue's order; nothing is done for jobs that are in it already."""
    return sorted(jobs, key=lambda job: job.rank)


def assign(
    jobs: Sequence[QueuedJob],
    idle: Sequence[str],
    coming: Sequence[Collection[str]] = (),
    later: Collection[str] = (),
) -> Decision:
    """Gives idle nodes to jobs.

    coming: groups of nodes that become idle together, each at a time that nobody knows: the nodes of every running
    job, and each node that is still being made ready. later: the names of jobs that may not start yet, though they
    have their place in the queue. A job that cannot start even when all nodes are there has no reservation, since
    nobody knows what it waits for.
    """
    pool = _Pool(idle, coming)
    waiting: list[str] = []
    reservation: _Reservation | None = None
    queue = order(jobs)
    for position, job in enumerate(queue):
        if not pool.free:
            waiting += [later.name for later in queue[position:]]
            break
        nodes = _nodes_for(job, pool, reservation) if job.name not in later else None
        if nodes is not None:
            pool.start(job, nodes)
            continue
        waiting.append(job.name)
        if reservation is None and (spare := _spare(job, pool)) is not None:
            reservation = _Reservation(job, spare)
    return Decision(pool.started, tuple(waiting))


def _nodes_for(job: QueuedJob, pool: _Pool, reservation: _Reservation | None) -> list[str] | None:
    """The job's nodes, or None. Nodes that the reserved job avoids come first: they cost it nothing."""
    suiting: Collection[str] = [node for node in pool.free if node not in job.avoids] if job.avoids else pool.free
    if job.node_count > len(suiting):
        return None
    avoided = reservation.job.avoids if reservation is not None else frozenset[str]()
    if avoided or job.last:
        suiting = sorted(suiting, key=lambda node: (node not in avoided, node in job.last))
    nodes = list(islice(suiting, job.node_count))
    if reservation is not None:
        cost = sum(node not in avoided for node in nodes)
        if cost > reservation.spare:
            return None
        reservation.spare -= cost
    return nodes


def _spare(job: QueuedJob, pool: _Pool) -> int | None:
    """How many suiting nodes are left over at the moment when the job can start, at least; None if it never can.

    Every set of groups whose nodes suffice may be the one that ends first: the smallest sum that suffices decides.
    """
    if job.node_count > pool.total:
        return None
    missing = job.node_count - sum(node not in job.avoids for node in pool.free)
    if missing <= 0:
        return -missing  # the job may not start yet
    sums = 1
    for group in pool.held:
        sums |= sums << sum(node not in job.avoids for node in group)
    enough = sums >> missing
    return (enough & -enough).bit_length() - 1 if enough else None


def shown_position(position: int, shown: int | None) -> int:
    """The position to show of a job at `position` (from 1) that shows `shown` now.

    Near the front it is exact; further back it may be off by a factor of two, since every start and every arrival
    of a higher priority moves all jobs behind.
    """
    if shown is None or min(position, shown) <= _EXACT_POSITIONS or not shown < 2 * position < 4 * shown:
        return position
    return shown


@dataclass(frozen=True)
class Supply:
    """The nodes of a cluster as a job that waits sees them. maximum: what it may grow to.

    running: job name → nodes that it holds; others: what keeps further nodes from being idle → how many.
    """

    idle: int
    total: int
    maximum: int
    running: Mapping[str, int]
    others: Mapping[str, int] = field(default_factory=dict)


def waiting_message(job: QueuedJob, position: int, supply: Supply) -> tuple[str, str]:
    """Why the job at `position` (from 1) waits, as a CamelCase reason and plain words."""
    nodes = f"{job.node_count} node" + ("s" if job.node_count > 1 else "")
    if job.node_count > supply.maximum:
        return (
            "ClusterTooSmall",
            f"needs {nodes}, but the cluster has at most {supply.maximum}: resize the cluster or lower nodeCount",
        )
    if position > 1:
        return "BehindOthers", f"waits for {nodes}: {position - 1} earlier in the queue"
    parts = [f"{supply.idle} of {supply.total} idle"]
    for name, held in list(supply.running.items())[:_NAMED_HOLDERS]:
        parts.append(f"{held} run{'s' if held == 1 else ''} {name}")
    if unnamed := sum(list(supply.running.values())[_NAMED_HOLDERS:]):
        parts.append(f"{unnamed} run other jobs")
    parts += [f"{count} {state}" for state, count in supply.others.items() if count]
    if job.avoids:
        parts.append(f"not on {', '.join(sorted(job.avoids))}")
    return "WaitingForNodes", f"waits for {nodes}: {', '.join(parts)}"
