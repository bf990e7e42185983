"""Hands a cluster's idle nodes to its queued jobs, and tells the others why they wait (Batch AI reference §7)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchai.api.cluster import Cluster
from batchai.api.job import Job, JobStatus
from batchai.errors import DependencyNotReady, KubeApiError
from batchai.kube.client import JOBS
from batchai.kube.store import Object
from batchai.reconcile.admission import joined
from batchai.reconcile.context import Context, Key
from batchai.reconcile.needs import Needs
from batchai.reconcile.presence import LOOK_AGAIN
from batchai.reconcile.writes import together, write_status
from batchai.schedule.queue import QueuedJob, Supply, assign, shown_position, waiting_message
from batchai.status import job as life

_REFRESH = timedelta(seconds=5)
"""How often jobs that wait are told about a queue that moves."""
_TOLD_AT_ONCE = 256
"""How many jobs are told in one pass: nodes that come free meanwhile wait for its end."""
_TOLD_AGAIN = 16
"""How many jobs hear every _REFRESH that they moved up, the first ones first: a queue that moves fast has no time."""


@dataclass(frozen=True)
class Nodes:
    """The cluster's nodes for its queue. coming: groups of nodes that will be idle together (see `assign`)."""

    idle: Sequence[str]
    coming: Sequence[Collection[str]]
    supply: Supply


@dataclass(frozen=True)
class Waiter:
    """A job that waits, and what the queue sees of it.

    rests_until: what a fault broke is often still broken; told: the position, reason and message that it shows.
    """

    job: Job
    entry: QueuedJob
    rests_until: datetime | None
    told: tuple[int, str, str] | None


@dataclass(frozen=True)
class Advance:
    """started: job name → its nodes; look_again: seconds until the next look without an event, or None."""

    started: Mapping[str, Sequence[str]]
    look_again: float | None


class JobQueue:
    """The queues of all clusters; between passes it remembers only when it told jobs of their place."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[str, datetime] = {}
        self._unsure: set[Key] = set()

    async def settle(self) -> None:
        """Reads jobs again whose assignment was sent and not answered: they may have nodes.

        Raises KubeApiError while that cannot be known.
        """
        for key in list(self._unsure):
            try:
                raw = await self._context.api.get(JOBS, key.name, namespace=key.namespace)
                self._context.objects.put("Job", {**raw, "kind": "Job"})
            except KubeApiError as error:
                if not error.not_found:
                    raise
                self._forget(self._context.objects.get("Job", key.namespace, key.name))
            self._unsure.discard(key)

    async def advance(
        self, cluster: Cluster, jobs: Iterable[Waiter], stopping: Collection[str], needs: Needs, nodes: Nodes
    ) -> Advance:
        """Starts the jobs that may start, and tells the others why they wait.

        jobs: in the queue's order. stopping: the names of jobs whose former attempts have not ended yet. Nobody knows
        when something that a job lacks will be there: such a job keeps its place, but has no reservation.
        """
        now = self._context.clock()
        candidates = {job.entry.name: job for job in jobs}
        resting = {name: at for name, job in candidates.items() if (at := job.rests_until) is not None and at > now}
        later = {*stopping, *resting}
        queue = [job.entry for job in candidates.values()]
        while True:
            able = [entry for entry in queue if entry.name not in needs.lacking]
            decision = assign(able, nodes.idle, nodes.coming, later)
            if not await needs.look(candidates[name].job for name in decision.started):
                break
        await self._start({name: (candidates[name].job, nodes) for name, nodes in decision.started.items()})
        waiting = [candidates[entry.name] for entry in queue if entry.name not in decision.started]
        late = await self._tell(cluster, waiting, later, needs.lacking, _after(nodes.supply, decision.started))
        pauses = [at - now for at in resting.values()]
        if needs.lacking:
            pauses.append(LOOK_AGAIN)
        if late is not None:
            pauses.append(late)
        return Advance(decision.started, min(pauses).total_seconds() if pauses else None)

    async def _start(self, started: Mapping[str, tuple[Job, Sequence[str]]]) -> None:
        now = self._context.clock()
        await together(self._assign(job, life.assigned(job, nodes, now)) for job, nodes in started.values())

    async def _assign(self, job: Job, status: JobStatus) -> None:
        """Writes that a job has nodes; its pods need not wait for the other jobs' writes."""
        key = Key("Job", job.metadata.namespace, job.metadata.name)
        try:
            await self._write(job, status)
        except KubeApiError as error:
            if error.status != 409:
                self._unsure.add(key)
            raise
        finally:
            self._context.queue.add(key)

    async def _tell(
        self,
        cluster: Cluster,
        waiting: Sequence[Waiter],
        later: Collection[str],
        missing: Mapping[str, DependencyNotReady],
        supply: Supply,
    ) -> timedelta | None:
        """Writes places and reasons that changed; after how long more is to be told.

        Those that start later keep what was said when their attempt ended.
        """
        now = self._context.clock()
        last = self._told.get(cluster.metadata.uid)
        early = last is not None and now - last < _REFRESH
        changes: list[tuple[Job, JobStatus]] = []
        skipped = cut = False
        again = 0
        for position, waiter in enumerate(waiting, start=1):
            entry, told = waiter.entry, waiter.told
            if entry.name in later:
                continue
            place = shown_position(position, told[0] if told else None)
            if entry.name in missing:
                reason, message = missing[entry.name].reason, missing[entry.name].message
            else:
                reason, message = waiting_message(entry, place, supply)
            if told == (place, reason, message):
                continue
            if told is not None and entry.name not in missing:
                moved = told[1] == reason
                if early or (moved and again == _TOLD_AGAIN):
                    skipped = True
                    continue
                again += moved
            if cut := len(changes) == _TOLD_AT_ONCE:
                break
            changes.append((waiter.job, life.waiting(waiter.job, reason, message, position=place, now=now)))
        if changes and not early and not cut:
            self._told[cluster.metadata.uid] = now
        await together(self._accept(job, status) for job, status in changes)
        if cut:
            return timedelta(0)
        return (last + _REFRESH - now if early and last is not None else _REFRESH) if skipped else None

    async def _accept(self, job: Job, status: JobStatus) -> None:
        """Writes the status of a job that waits; before the first one it is made to belong to its Experiment."""
        if (raw := self._current(job)) is None:
            return
        with self._forgotten_if_gone(raw):
            now = await joined(self._context, raw)
            if (now["spec"], now.get("status")) == (raw["spec"], raw.get("status")):
                await write_status(self._context, JOBS, now, status)

    async def _write(self, job: Job, status: JobStatus) -> None:
        if (raw := self._current(job)) is not None:
            with self._forgotten_if_gone(raw):
                await write_status(self._context, JOBS, raw, status)

    @contextmanager
    def _forgotten_if_gone(self, raw: Object) -> Iterator[None]:
        """Of many jobs that are deleted at once the watch tells late: no pass may try them again and again."""
        try:
            yield
        except KubeApiError as error:
            if not error.not_found:
                raise
            self._forget(raw)

    def _forget(self, raw: Object | None) -> None:
        if raw is not None:
            self._context.objects.remove("Job", raw)
            self._context.queue.add(Key("Job", raw["metadata"]["namespace"], raw["metadata"]["name"]))

    def _current(self, job: Job) -> Object | None:
        """The job, unless it is not any more what was looked at."""
        raw = self._context.objects.get("Job", job.metadata.namespace, job.metadata.name)
        return raw if raw and raw["metadata"]["resourceVersion"] == job.metadata.resource_version else None


def waiter(job: Job) -> Waiter | None:
    """The job as one that was accepted and waits for nodes only; None for any other."""
    if (
        job.status.execution_state != "queued"
        or job.status.job_output_directory_path_segment is None
        or job.spec.terminate
        or job.metadata.deletion_timestamp is not None
    ):
        return None
    metadata, spec = job.metadata, job.spec
    assert metadata.creation_timestamp is not None  # noqa: S101 - the API server sets it
    entry = QueuedJob(
        metadata.name,
        spec.scheduling_priority,
        metadata.creation_timestamp,
        spec.node_count,
        life.avoided_nodes(job),
        life.last_nodes(job),
    )
    shown, said = job.status.queue_position, job.status.waiting
    told = (shown, said.reason, said.message) if shown is not None and said is not None else None
    return Waiter(job, entry, life.retry_at(job), told)


def _after(supply: Supply, started: Mapping[str, Sequence[str]]) -> Supply:
    running = {**supply.running, **{name: len(nodes) for name, nodes in started.items()}}
    taken = sum(len(nodes) for nodes in started.values())
    return Supply(supply.idle - taken, supply.total, supply.maximum, running, supply.others)
