"""Brings a Cluster's nodes to its target, and lets its queue have them (Batch AI reference §1.2, §7).

One key has one worker at a time, so two jobs of a cluster never get the same node.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from batchai.api import names
from batchai.api.cluster import Cluster, ClusterStatus
from batchai.api.job import TERMINAL_STATES, Job
from batchai.kube.client import CLUSTERS, JOBS
from batchai.kube.store import Object
from batchai.reconcile.admission import admits, admitted, experiment_of, is_valid
from batchai.reconcile.context import Context, Key
from batchai.reconcile.jobqueue import JobQueue, Nodes, Waiter, waiter
from batchai.reconcile.models import Versions
from batchai.reconcile.needs import Needs
from batchai.reconcile.nodes import NodeKeeper, Readiness
from batchai.reconcile.presence import Presence
from batchai.reconcile.writes import adopted, write_status
from batchai.schedule import ledger, scaling
from batchai.schedule.nodes import Membership, NodeCounts, NodeView, count, fits, membership, state, view
from batchai.schedule.queue import QueuedJob, Supply
from batchai.status import cluster as shape
from batchai.status import job as life
from batchai.status.pods import Problem

_QUOTA_CHECK_SECONDS = 20.0
"""How often a Cluster that its namespace may not have looks whether another one went."""
_LOOKED_AT = 64
"""How many jobs are asked at once whether they lack something."""
_PRIORITIES = {"low": 0, "normal": 1, "high": 2}


@dataclass(frozen=True)
class _Node:
    """A node of the cluster with its state (reference §1.2) and the job that holds it."""

    view: NodeView
    state: str
    job: str | None


@dataclass(frozen=True)
class _Memory:
    """What a Cluster's passes read of jobs and nodes, of each version once; version: UID and generation."""

    version: tuple[str, int]
    jobs: Versions[Job | Waiter | None]
    nodes: Versions[NodeView | None]


class ClusterReconciler:
    """Reconciles keys of kind Cluster."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._keeper = NodeKeeper(context)
        self._queue = JobQueue(context)
        self._presence = Presence(context.api, context.clock)
        self._memories: dict[Key, _Memory] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One pass over a cluster and its queue; seconds until the next look, or None."""
        context = self._context
        raw = context.objects.get("Cluster", key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            await self._abandon(key)
            return None
        await self._keeper.sweep(key[1:], raw["metadata"]["uid"])
        workspace = context.objects.get("Workspace", key.namespace, raw["spec"]["workspace"])
        if workspace is None:
            status = shape.orphan(Cluster.model_validate(raw), context.clock())
            await write_status(context, CLUSTERS, raw, status)
            return None
        raw = await adopted(context, CLUSTERS, raw, workspace)
        cluster = Cluster.model_validate(raw)
        if (excess := self._over_quota(cluster)) is not None:
            await write_status(context, CLUSTERS, raw, excess)
            return _QUOTA_CHECK_SECONDS
        await self._queue.settle()
        return await self._pass(key, raw, cluster)

    async def _pass(self, key: Key, raw: Object, cluster: Cluster) -> float | None:
        context, now = self._context, self._context.clock()
        memory = self._memory(key, cluster)
        jobs, queue = self._unfinished(key, memory)
        held = ledger.holders(jobs.values(), context.pods.by_index("cluster", f"{key.namespace}/{key.name}"))
        views = self._candidates(memory)
        own = [node for node in views if node.owner == key[1:]]
        # A former attempt that has not ended yet on a node that answers: two at a time would meet in its files.
        stuck, patience = self._overdue(key, now)
        sound = {node.name for node in own if node.usable and held.get(node.name) not in stuck}
        needs = Needs(context, self._presence, cluster)
        demand = partial(scaling.demand, held, sound=sound)
        able = await _able(queue, needs, scaling.maximum(cluster.spec.scale_settings), demand)
        target = scaling.target(
            cluster,
            demand=demand(able),
            own=sum(node.going is None for node in own),
            useless=sum(node.going is None and node.name not in held and _useless(node, able) for node in own),
            now=now,
        )
        change = membership(views, key[1:], target=target.nodes, held=held, expendable=_expendable(jobs.values()))
        await self._keeper.claim(key[1:], change.claim)
        await self._keeper.release(change.release)
        await self._stop_jobs(cluster, jobs, held, [node for node in own if node.name in change.leaving])
        mine = [node for node in self._candidates(memory) if node.owner == key[1:]]
        readiness = await self._keeper.prepare(cluster, raw, (node for node in mine if node.name not in held))
        nodes = [_node(view, held.get(view.name), change, readiness) for view in mine]
        counts = count(node.state for node in nodes)
        missing = target.nodes - sum(node.view.going is None for node in nodes)
        provider = await self._keeper.request(cluster, max(0, missing))
        stopping = {node.job for node in nodes if node.job is not None and node.view.ready} - stuck
        supply = _for_queue(cluster, nodes, counts, target.nodes, now)
        advance = await self._queue.advance(cluster, queue, stopping, needs, supply)
        # Written last: pods do not wait for it, and a node that goes from job to job costs no write.
        given = sum(map(len, advance.started.values()))
        counts = replace(counts, idle=counts.idle - given, running=counts.running + given)
        seen = shape.Observation(
            counts,
            target,
            resizing=bool(change.leaving),
            problems=list(_problems(nodes, readiness)),
            provider=provider,
            started=bool(held or given),
            log_suffix=readiness.log_suffix,
        )
        await write_status(context, CLUSTERS, raw, shape.observed(cluster, seen, now))
        self._wake_jobs(key, nodes, held)
        waits = [advance.look_again, target.look_again.total_seconds() if target.look_again else None, patience]
        if shape.expects_nodes(cluster, counts, target.nodes, now):
            waits.append(shape.patience_left(cluster, target.nodes, now).total_seconds())
        return min((wait for wait in waits if wait is not None), default=None)

    def _wake_jobs(self, key: Key, nodes: Sequence[_Node], held: Mapping[str, str]) -> None:
        """Jobs on nodes that are gone, or that something is wrong with, must look whether they can stay there."""
        affected = {job for name, job in held.items() if self._context.nodes.get("", name) is None}
        for node in nodes:
            if node.job is not None and (node.view.problem is not None or node.view.going is not None):
                affected.add(node.job)
        for job in affected:
            self._context.queue.add(Key("Job", key.namespace, job))

    def _overdue(self, key: Key, now: datetime) -> tuple[set[str], float | None]:
        """The jobs whose former pods cannot be ended, and the seconds until another one's are overdue.

        A process that the kernel does not let die, as after a fault of its GPU, keeps its node, but no job.
        """
        ends = {
            pod["metadata"]["labels"][names.LABEL_JOB]: end
            for pod in self._context.pods.by_index("cluster", f"{key.namespace}/{key.name}")
            if names.LABEL_JOB in pod["metadata"]["labels"] and (end := ledger.overdue_at(pod)) is not None
        }
        left = {job: (end - now).total_seconds() for job, end in ends.items()}
        patience = min((rest for rest in left.values() if rest > 0), default=None)
        return {job for job, rest in left.items() if rest <= 0}, patience

    async def _abandon(self, key: Key) -> None:
        """The Cluster goes: its nodes are given back, those that still run a job when it has ended."""
        self._memories.pop(key, None)
        await self._keeper.sweep(key[1:], None)
        held = ledger.holders((), self._context.pods.by_index("cluster", f"{key.namespace}/{key.name}"))
        own = (node.name for node in map(view, self._context.nodes.items()) if node.owner == key[1:])
        await self._keeper.release([name for name in own if name not in held])

    def _over_quota(self, cluster: Cluster) -> ClusterStatus | None:
        """The status of a Cluster that its namespace may not have; earlier ones come first."""
        limit = self._context.settings.clusters_per_namespace
        if limit is None:
            return None
        metadata = cluster.metadata
        others = self._context.objects.list("Cluster", metadata.namespace)
        earlier = sorted((item["metadata"]["creationTimestamp"], item["metadata"]["name"]) for item in others)
        used = [name for _, name in earlier][:limit]
        if metadata.name in used:
            return None
        return shape.over_quota(cluster, limit=limit, used=len(used), now=self._context.clock())

    def _memory(self, key: Key, cluster: Cluster) -> _Memory:
        known = self._memories.get(key)
        version = (cluster.metadata.uid, cluster.metadata.generation)
        if known is None or known.version != version:
            known = self._memories[key] = _Memory(
                version, Versions(self._place), Versions(lambda node: _candidate(node, key, cluster))
            )
        return known

    def _place(self, raw: Object) -> Job | Waiter | None:
        """A job that holds nodes, or one that waits for them, or None."""
        context = self._context
        model = context.models.of(raw)
        job = admitted(model, experiment_of(raw, context.objects), context.subscription, context.clock())
        if job is not model and not is_valid(job, context.settings):
            return None  # its own pass says why
        return job if job.status.execution_state in ledger.HOLDING_STATES else waiter(job)

    def _unfinished(self, key: Key, memory: _Memory) -> tuple[dict[str, Job], list[Waiter]]:
        """The jobs that hold nodes, by name, and those that wait, in the queue's order."""
        objects = self._context.objects
        items = objects.children("Job", "cluster", key.namespace, key.name)
        places = memory.jobs.read(
            item
            for item in items
            if (status := item.get("status", {})).get("executionState") not in TERMINAL_STATES
            # Of a job that was not admitted yet more than its own version counts.
            and ("jobOutputDirectoryPathSegment" in status or admits(experiment_of(item, objects)))
        )
        return (
            {place.metadata.name: place for place in places if isinstance(place, Job)},
            sorted((place for place in places if isinstance(place, Waiter)), key=lambda waiter: waiter.entry.rank),
        )

    def _candidates(self, memory: _Memory) -> list[NodeView]:
        """The nodes that fit, and those that did when they were claimed."""
        return [node for node in memory.nodes.read(self._context.nodes.items()) if node is not None]

    def _has_result(self, job: Job) -> bool:
        """The job's first pod has ended, and nobody has looked at it yet."""
        found = self._context.pods.by_index("job", f"{job.metadata.namespace}/{job.metadata.name}")
        return any(ledger.ended(pod) for pod in found if _is_master(pod, job))

    async def _stop_jobs(
        self, cluster: Cluster, jobs: Mapping[str, Job], held: Mapping[str, str], leaving: Sequence[NodeView]
    ) -> None:
        """What nodeDeallocationOption says of jobs on nodes that the cluster gives up; others' drains are theirs."""
        option = scaling.deallocation(cluster.spec.scale_settings)
        if option == "waitforjobcompletion":
            return
        now = self._context.clock()
        affected = {held[node.name]: node.name for node in leaving if node.going is None}
        for name, node in affected.items():
            job = jobs.get(name)
            if job is None or job.status.execution_state != "running":
                continue
            if self._has_result(job):
                self._context.queue.add(Key("Job", job.metadata.namespace, name))
                continue
            if option == "requeue":
                problem = Problem("NodeDeallocated", f"Node {node} was taken from the cluster", {})
                status = life.requeued(job, problem, now).status
            else:
                text = f"The job was stopped because node {node} was taken from the cluster"
                status = life.failed(job, Problem("JobTerminated", text, {"Node": node}), now)
            raw = self._context.objects.get("Job", job.metadata.namespace, name)
            if raw is not None and raw["metadata"]["resourceVersion"] == job.metadata.resource_version:
                await write_status(self._context, JOBS, raw, status)
                self._context.queue.add(Key("Job", job.metadata.namespace, name))


async def _able(
    queue: Sequence[Waiter], needs: Needs, most: int, demand: Callable[[Sequence[QueuedJob]], int]
) -> list[QueuedJob]:
    """The first jobs that could run on `most` nodes and lack nothing; no more than have a `demand` of so many.

    What is behind them counts for nothing, and nobody looks whether it lacks something.
    """
    fitting = [waiter for waiter in queue if waiter.entry.node_count <= most]
    able: list[QueuedJob] = []
    for start in range(0, len(fitting), _LOOKED_AT):
        if able and demand(able) >= most:
            break
        several = fitting[start : start + _LOOKED_AT]
        await needs.look(waiter.job for waiter in several)
        able += [waiter.entry for waiter in several if waiter.entry.name not in needs.lacking]
    return able


def _is_master(pod: Object, job: Job) -> bool:
    labels = pod["metadata"]["labels"]
    found = (labels[names.LABEL_JOB_UID], labels[names.LABEL_ATTEMPT], labels[names.LABEL_INDEX])
    return found == (job.metadata.uid, str(job.status.attempt), "0")


def _useless(node: NodeView, waiting: Sequence[QueuedJob]) -> bool:
    """Whether none of the jobs that wait can run on the node, though nobody takes it away."""
    return node.problem is not None or (bool(waiting) and all(node.name in job.avoids for job in waiting))


def _candidate(node: Object, key: Key, cluster: Cluster) -> NodeView | None:
    found = view(node, cluster.spec.tolerations or ())
    return found if found.owner == key[1:] or fits(node, cluster.spec) else None


def _expendable(jobs: Iterable[Job]) -> list[str]:
    """Running jobs in the order in which they should lose their nodes: low priority, then the youngest."""

    def rank(job: Job) -> tuple[int, float, str]:
        info = job.status.execution_info
        since = info.start_time.timestamp() if info is not None and info.start_time is not None else 0.0
        return _PRIORITIES[job.spec.scheduling_priority], -since, job.metadata.name

    return [job.metadata.name for job in sorted(jobs, key=rank)]


def _node(node: NodeView, job: str | None, change: Membership, readiness: Readiness) -> _Node:
    problem = readiness.problems.get(node.name)
    found = state(
        node,
        busy=job is not None,
        leaving=node.name in change.leaving,
        ready=node.name in readiness.ready,
        failed=problem is not None,
    )
    return _Node(node, found, job)


def _problems(nodes: Sequence[_Node], readiness: Readiness) -> Iterator[shape.NodeProblem]:
    for node in sorted(nodes, key=lambda node: node.view.name):
        if node.view.problem is not None:
            yield shape.NodeProblem(node.view.name, "NodeUnusable", node.view.problem)
        elif node.view.name in readiness.problems:
            yield readiness.problems[node.view.name]


def _for_queue(cluster: Cluster, nodes: Sequence[_Node], counts: NodeCounts, target: int, now: datetime) -> Nodes:
    """What the queue may count on: idle nodes, those of running jobs, and those that are being made ready."""
    held: dict[str, list[str]] = {}
    for node in nodes:
        if node.state == "running" and node.job is not None and node.view.problem is None:
            held.setdefault(node.job, []).append(node.view.name)
    coming: list[list[str]] = [*held.values()]
    coming += [[node.view.name] for node in nodes if node.state == "preparing"]
    if shape.expects_nodes(cluster, counts, target, now):
        coming += [[f"missing {index}"] for index in range(target - counts.staying)]
    supply = Supply(
        idle=counts.idle,
        total=counts.total,
        maximum=scaling.maximum(cluster.spec.scale_settings),
        running={job: len(theirs) for job, theirs in held.items()},
        others={
            "being prepared": counts.preparing,
            "unusable": counts.unusable,
            "leaving": counts.leaving,
            "missing": max(0, target - counts.staying),
        },
    )
    return Nodes([node.view.name for node in nodes if node.state == "idle"], coming, supply)
