"""Gives a Cluster its nodes, and its queued jobs theirs (Batch AI reference §1.2, §7).

One key has one worker at a time, so two jobs of a cluster never get the same node; two clusters never claim
the same node because a claim names the node's resourceVersion.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster
from batchai.api.job import Job
from batchai.errors import KubeApiError
from batchai.kube.client import CLUSTERS, JOBS, NODES
from batchai.plan import secrets
from batchai.reconcile.context import Context, Key
from batchai.reconcile.writes import adopted, write_status
from batchai.schedule import ledger, scaling
from batchai.schedule.nodes import Membership, NodeView, count, fits, membership, view
from batchai.schedule.queue import QueuedJob, assign, order, waiting_message
from batchai.status import cluster as shape
from batchai.status import job as life

_SECRET_CHECK_SECONDS = 5.0
"""How often a missing Secret is looked for: the operator may not watch Secrets."""


class ClusterReconciler:
    """Reconciles keys of kind Cluster."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One pass over a cluster and its queue; seconds until the next look, or None."""
        context = self._context
        raw = context.objects.get("Cluster", key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            await self._release([node.name for node in map(view, context.nodes.items()) if node.owner == key[1:]])
            return None
        workspace = context.objects.get("Workspace", key.namespace, raw["spec"]["workspace"])
        if workspace is None:
            status = shape.orphan(Cluster.model_validate(raw), context.clock())
            await write_status(context, CLUSTERS, raw, status)
            return None
        raw = await adopted(context, CLUSTERS, raw, workspace)
        cluster = Cluster.model_validate(raw)
        jobs = [
            job
            for item in context.objects.list("Job", key.namespace)
            if item["spec"]["cluster"] == key.name and (job := Job.model_validate(item))
        ]
        pods = context.pods.by_index("cluster", f"{key.namespace}/{key.name}")
        held = ledger.holders(jobs, pods)
        queue = {job.metadata.name: job for job in jobs if _is_queued(job)}
        demand = len(held) + sum(job.spec.node_count for job in queue.values())
        target = scaling.target(cluster.spec.scale_settings, demand=demand)
        candidates = [view(node) for node in context.nodes.items() if fits(node, cluster.spec)]
        change = membership(candidates, (key.namespace, key.name), target=target, busy=frozenset(held))
        own = await self._resize(key, candidates, change)
        busy = frozenset(node.name for node in own if node.name in held)
        status = shape.observed(
            cluster,
            count(own, busy=busy, leaving=change.leaving),
            target=target,
            change=change,
            now=context.clock(),
        )
        await write_status(context, CLUSTERS, raw, status)
        idle = [node.name for node in own if node.usable and node.name not in busy and node.name not in change.leaving]
        return await self._schedule(cluster, queue, idle, total=len(own), held=held)

    async def _resize(self, key: Key, candidates: Sequence[NodeView], change: Membership) -> list[NodeView]:
        """Claims and gives back nodes; the nodes that the cluster has then."""
        for name in change.claim:
            labels = {names.LABEL_CLUSTER: key.name, names.LABEL_CLUSTER_NAMESPACE: key.namespace}
            await self._label(name, labels)
        await self._release(change.release)
        mine = (key.namespace, key.name)
        return [
            node
            for node in candidates
            if node.name in change.claim or (node.owner == mine and node.name not in change.release)
        ]

    async def _release(self, nodes: Sequence[str]) -> None:
        for name in nodes:
            await self._label(name, {names.LABEL_CLUSTER: None, names.LABEL_CLUSTER_NAMESPACE: None})

    async def _label(self, node: str, labels: Mapping[str, str | None]) -> None:
        raw = self._context.nodes.get("", node)
        if raw is None:
            return
        version = raw["metadata"]["resourceVersion"]
        body: dict[str, Any] = {"metadata": {"labels": labels, "resourceVersion": version}}
        try:
            self._context.nodes.put(await self._context.api.patch(NODES, node, body))
        except KubeApiError as error:
            if not error.not_found:
                raise

    async def _schedule(
        self, cluster: Cluster, jobs: dict[str, Job], idle: Sequence[str], *, total: int, held: dict[str, str]
    ) -> float | None:
        """Starts the jobs that the queue allows and tells the others why they wait."""
        context = self._context
        missing: dict[str, str] = {}
        now = context.clock()
        resting = {name: at - now for name, job in jobs.items() if (at := life.retry_at(job)) is not None and at > now}
        jobs = {name: job for name, job in jobs.items() if name not in resting}
        candidates = dict(jobs)
        decision = assign([_queued(job) for job in candidates.values()], idle)
        while newly := await self._without_secrets(jobs, decision.started):
            missing |= newly
            candidates = {name: job for name, job in candidates.items() if name not in missing}
            decision = assign([_queued(job) for job in candidates.values()], idle)
        for name, nodes in decision.started.items():
            await self._write(jobs[name], life.assigned(jobs[name], nodes, context.clock()))
            context.queue.add(Key("Job", cluster.metadata.namespace, name))
        running = dict(_nodes_by_job(held)) | {name: len(nodes) for name, nodes in decision.started.items()}
        free = len(idle) - sum(len(nodes) for nodes in decision.started.values())
        rest = order([_queued(jobs[name]) for name in jobs if name not in decision.started])
        for position, entry in enumerate(rest, start=1):
            if entry.name in missing:
                reason, message = "SecretNotFound", missing[entry.name]
            else:
                reason, message = waiting_message(
                    entry,
                    position,
                    idle=free,
                    running=running,
                    total=total,
                    maximum=scaling.maximum(cluster.spec.scale_settings),
                )
            job = jobs[entry.name]
            status = life.waiting(job, reason, message, position=position, now=context.clock())
            await self._write(job, status)
        pauses = [rest.total_seconds() for rest in resting.values()]
        if missing:
            pauses.append(_SECRET_CHECK_SECONDS)
        return min(pauses, default=None)

    async def _without_secrets(self, jobs: dict[str, Job], starting: Any) -> dict[str, str]:
        """The jobs that would start but lack a Secret: name → what is missing."""
        found: dict[str, bool] = {}
        missing: dict[str, str] = {}
        for name in starting:
            namespace = jobs[name].metadata.namespace
            for secret, keys in secrets.needed(jobs[name].spec).items():
                if secret not in found:
                    found[secret] = await self._context.api.exists_secret(namespace, secret)
                if not found[secret]:
                    missing[name] = (
                        f"waits for Secret '{secret}' in namespace '{namespace}': create it with the keys "
                        f"{' and '.join(keys)}"
                    )
                    break
        return missing

    async def _write(self, job: Job, status: Any) -> None:
        raw = self._context.objects.get("Job", job.metadata.namespace, job.metadata.name)
        if raw is not None and raw["metadata"]["resourceVersion"] == job.metadata.resource_version:
            await write_status(self._context, JOBS, raw, status)


def _is_queued(job: Job) -> bool:
    """The job was accepted and waits for nodes only."""
    return (
        job.status.execution_state == "queued"
        and job.status.job_output_directory_path_segment is not None
        and not job.spec.terminate
        and job.metadata.deletion_timestamp is None
    )


def _queued(job: Job) -> QueuedJob:
    created = job.metadata.creation_timestamp
    assert created is not None  # noqa: S101 - the API server sets it
    return QueuedJob(job.metadata.name, job.spec.scheduling_priority, created, job.spec.node_count)


def _nodes_by_job(held: dict[str, str]) -> list[tuple[str, int]]:
    holders = list(held.values())
    return [(name, holders.count(name)) for name in dict.fromkeys(holders)]
