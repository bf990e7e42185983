"""Hands a cluster's idle nodes to its queued jobs, and tells the others why they wait (Batch AI reference §7)."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchai.api.cluster import Cluster
from batchai.api.job import Job, JobStatus, Waiting
from batchai.api.mounts import MountVolumes
from batchai.errors import DependencyNotReady, KubeApiError
from batchai.kube.client import JOBS
from batchai.plan import secrets
from batchai.plan.mounts import claim_names, file_server_ids
from batchai.reconcile.context import Context, Key
from batchai.reconcile.presence import Kind, Presence
from batchai.reconcile.storage import file_server
from batchai.reconcile.writes import write_status
from batchai.schedule.queue import QueuedJob, Supply, assign, order, shown_position, waiting_message
from batchai.status import job as life

_CHECK_SECONDS = 5.0
"""How often what a job lacks is looked for: the operator may not watch Secrets, and needs to watch no claims."""
_REFRESH = timedelta(seconds=5)
"""How often jobs that wait are told about a queue that moves."""


@dataclass(frozen=True)
class Nodes:
    """The cluster's nodes for its queue. coming: groups of nodes that will be idle together (see `assign`)."""

    idle: Sequence[str]
    coming: Sequence[Collection[str]]
    supply: Supply


@dataclass(frozen=True)
class _Need:
    """Something that a job's pods would wait for, and how it comes to be."""

    kind: Kind
    name: str
    remedy: str


class JobQueue:
    """The queues of all clusters; between passes it remembers only when it told jobs of their place."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._presence = Presence(context.api, context.clock)
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
            self._unsure.discard(key)

    async def advance(self, cluster: Cluster, jobs: Mapping[str, Job], nodes: Nodes) -> float | None:
        """Starts the jobs that may start; seconds until the next look without an event, or None."""
        now = self._context.clock()
        resting = {name: at for name, job in jobs.items() if (at := life.retry_at(job)) is not None and at > now}
        candidates = {name: queued(job) for name, job in jobs.items() if name not in resting}
        missing: dict[str, DependencyNotReady] = {}
        decision = assign(list(candidates.values()), nodes.idle, nodes.coming)
        while newly := await self._lacking(cluster, [jobs[name] for name in decision.started]):
            missing |= newly
            able = [entry for name, entry in candidates.items() if name not in missing]
            decision = assign(able, nodes.idle, nodes.coming)
        await self._start(jobs, decision.started)
        waiting = order([entry for name, entry in candidates.items() if name not in decision.started])
        supply = _after(nodes.supply, decision.started)
        late = await self._tell(cluster, [jobs[entry.name] for entry in waiting], waiting, missing, supply)
        pauses = [(at - now).total_seconds() for at in resting.values()]
        if missing:
            pauses.append(_CHECK_SECONDS)
        if late is not None:
            pauses.append(late.total_seconds())
        return min(pauses, default=None)

    async def _start(self, jobs: Mapping[str, Job], started: Mapping[str, Sequence[str]]) -> None:
        now = self._context.clock()
        results = await asyncio.gather(
            *(self._write(jobs[name], life.assigned(jobs[name], nodes, now)) for name, nodes in started.items()),
            return_exceptions=True,
        )
        for name, result in zip(started, results, strict=True):
            key = Key("Job", jobs[name].metadata.namespace, name)
            if isinstance(result, KubeApiError) and result.status != 409:
                self._unsure.add(key)
            self._context.queue.add(key)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _tell(
        self,
        cluster: Cluster,
        jobs: Sequence[Job],
        waiting: Sequence[QueuedJob],
        missing: Mapping[str, DependencyNotReady],
        supply: Supply,
    ) -> timedelta | None:
        """Writes places and reasons that changed; how long to wait if it is too early to tell all of them."""
        now = self._context.clock()
        last = self._told.get(cluster.metadata.uid)
        early = last is not None and now - last < _REFRESH
        changes: list[tuple[Job, JobStatus]] = []
        skipped = False
        for position, (job, entry) in enumerate(zip(jobs, waiting, strict=True), start=1):
            place = shown_position(position, job.status.queue_position)
            if entry.name in missing:
                reason, message = missing[entry.name].reason, missing[entry.name].message
            else:
                reason, message = waiting_message(entry, place, supply)
            if job.status.queue_position == place and job.status.waiting == Waiting(reason=reason, message=message):
                continue
            news = job.status.queue_position is None or job.status.waiting is None or entry.name in missing
            if early and not news:
                skipped = True
                continue
            changes.append((job, life.waiting(job, reason, message, position=place, now=now)))
        if changes and not early:
            self._told[cluster.metadata.uid] = now
        await asyncio.gather(*(self._write(job, status) for job, status in changes))
        return last + _REFRESH - now if skipped and last is not None else None

    async def _lacking(self, cluster: Cluster, starting: Sequence[Job]) -> dict[str, DependencyNotReady]:
        """The jobs that would start but lack something: name → the first thing that is not there."""
        namespace = cluster.metadata.namespace
        needs = {job.metadata.name: list(_needs(job, cluster)) for job in starting}
        asked = list(dict.fromkeys(need for found in needs.values() for need in found))
        there = await asyncio.gather(*(self._presence.exists(need.kind, namespace, need.name) for need in asked))
        absent = {need for need, exists in zip(asked, there, strict=True) if not exists}
        found = {
            job.metadata.name: self._first_missing(job, cluster, needs[job.metadata.name], absent) for job in starting
        }
        return {name: missing for name, missing in found.items() if missing is not None}

    def _first_missing(
        self, job: Job, cluster: Cluster, needs: Sequence[_Need], absent: Collection[_Need]
    ) -> DependencyNotReady | None:
        namespace = job.metadata.namespace
        for need in needs:
            if need in absent:
                text = f"waits for {need.kind} '{need.name}' in namespace '{namespace}': {need.remedy}"
                return DependencyNotReady(f"{need.kind}NotFound", text)
        try:
            for identifier in _ids_of_file_servers(job, cluster):
                file_server(self._context, namespace, identifier)
        except DependencyNotReady as error:
            return error
        return None

    async def _write(self, job: Job, status: JobStatus) -> None:
        raw = self._context.objects.get("Job", job.metadata.namespace, job.metadata.name)
        if raw is not None and raw["metadata"]["resourceVersion"] == job.metadata.resource_version:
            await write_status(self._context, JOBS, raw, status)


def _needs(job: Job, cluster: Cluster) -> Iterator[_Need]:
    for secret, keys in secrets.needed(job.spec, cluster.spec).items():
        yield _Need("Secret", secret, f"create it with the keys {' and '.join(keys)}")
    for claim in sorted(claim_names(_shared(cluster)) | claim_names(job.spec.mount_volumes)):
        yield _Need("PersistentVolumeClaim", claim, "create it")


def _ids_of_file_servers(job: Job, cluster: Cluster) -> list[str]:
    return sorted(file_server_ids(_shared(cluster)) | file_server_ids(job.spec.mount_volumes))


def _shared(cluster: Cluster) -> MountVolumes | None:
    return cluster.spec.node_setup.mount_volumes if cluster.spec.node_setup else None


def is_queued(job: Job) -> bool:
    """The job was accepted and waits for nodes only."""
    return (
        job.status.execution_state == "queued"
        and job.status.job_output_directory_path_segment is not None
        and not job.spec.terminate
        and job.metadata.deletion_timestamp is None
    )


def queued(job: Job) -> QueuedJob:
    """The job as the queue sees it."""
    created = job.metadata.creation_timestamp
    assert created is not None  # noqa: S101 - the API server sets it
    return QueuedJob(
        job.metadata.name, job.spec.scheduling_priority, created, job.spec.node_count, life.avoided_nodes(job)
    )


def _after(supply: Supply, started: Mapping[str, Sequence[str]]) -> Supply:
    running = {**supply.running, **{name: len(nodes) for name, nodes in started.items()}}
    taken = sum(len(nodes) for nodes in started.values())
    return Supply(supply.idle - taken, supply.total, supply.maximum, running, supply.others)
