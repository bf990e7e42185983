"""Brings a Job's pods to what its status says, and its status to what its pods say (design §2).

The Cluster's reconciler gives nodes to queued jobs; from then on the job is looked after here.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from secrets import token_bytes
from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster, ClusterSpec
from batchai.api.job import TERMINAL_STATES, Job, JobStatus
from batchai.errors import ConflictError, DependencyNotReady, KubeApiError, SpecError
from batchai.kube.client import CLAIMS, JOBS, PODS, PROVIDER_CLASSES, SECRETS, SERVICES, Resource
from batchai.kube.store import Object
from batchai.plan import peers
from batchai.plan.directories import JobIdentity
from batchai.plan.ownership import owner
from batchai.plan.pods import Attempt, Images, all_mounts, default_images, job_pods, needs_shared_claim
from batchai.plan.static_volumes import VolumeOwner
from batchai.plan.vaults import provider_classes
from batchai.reconcile.admission import admits, admitted, check_admitted, experiment_of, joined, stored_identity
from batchai.reconcile.context import Context, Key
from batchai.reconcile.slim import slim_pod
from batchai.reconcile.storage import StaticVolumes, surroundings
from batchai.reconcile.writes import gone_is_fine, owned, together, write_status
from batchai.schedule.ledger import ended
from batchai.schedule.nodes import view
from batchai.status import job as life
from batchai.status.conditions import find
from batchai.status.pods import Problem
from batchai.status.provisioning import READY


class JobReconciler:
    """Reconciles keys of kind Job."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._volumes = StaticVolumes(context)

    async def reconcile(self, key: Key) -> float | None:
        """One pass over a job; seconds until the next look, or None."""
        context = self._context
        raw = context.objects.get("Job", key.namespace, key.name)
        pods = self._pods(key)
        uid = raw["metadata"]["uid"] if raw else None
        own = [pod for pod in pods if _is_of(pod, uid)]
        await self._remove(pod for pod in pods if not _is_of(pod, uid))
        lives = raw is not None and "deletionTimestamp" not in raw["metadata"] and not _has_ended(raw)
        await self._volumes.sweep(names.LABEL_JOB, key.namespace, key.name, uid if lives else None)
        if raw is None:
            return None
        if "deletionTimestamp" in raw["metadata"]:
            await self._remove(own)
            return None
        # Pods do not wait for what nothing but the job's end needs: the queue sees to new jobs that do not start.
        starts = _state(raw) == "running" and not own
        if not starts and not (_state(raw) is None and not pods and self._can_start(raw)):
            raw = await self._adopted(raw)
        state = _state(raw)
        if state in TERMINAL_STATES:
            await self._finish(own)
            return None
        job = context.models.of(raw)
        if state in {"running", "terminating"}:
            if not owned(raw, "Experiment") and experiment_of(raw, self._context.objects) is None:
                lost = Problem("ExperimentNotFound", f"Experiment '{job.spec.experiment}' was deleted", {})
                step = life.Step(life.failed(job, lost, context.clock()), stop_pods=True)
                return await self._apply(raw, step, dict(enumerate(own)))
            again = await self._run(raw, job, own)
            if starts and any(_is_of(pod, uid) for pod in self._pods(key)):
                context.queue.add(key, background=True)
            elif starts:
                await self._adopted(raw)
            return again
        await self._remove(own)
        await self._queue(raw, job)
        return None

    def _can_start(self, raw: Object) -> bool:
        """Everything that a new job belongs to is there, so its Cluster's queue will take it up."""
        spec = raw["spec"]
        cluster = self._context.objects.get("Cluster", raw["metadata"]["namespace"], spec["cluster"])
        return (
            not spec.get("terminate", False)
            and admits(experiment_of(raw, self._context.objects))
            and cluster is not None
            and cluster.get("status", {}).get("provisioningState") == "succeeded"
        )

    async def _adopted(self, raw: Object) -> Object:
        """The job as it is now, which belongs to its Experiment if that admits it."""
        metadata = raw["metadata"]
        raw = self._context.objects.get("Job", metadata["namespace"], metadata["name"]) or raw
        return await joined(self._context, raw)

    def _pods(self, key: Key) -> list[Object]:
        """The pods of all jobs that ever had the name."""
        return self._context.pods.by_index("job", f"{key.namespace}/{key.name}")

    async def _queue(self, raw: Object, job: Job) -> None:
        """A job that has no nodes: refuses what cannot run, names what is missing, else leaves it to its cluster."""
        context, now = self._context, self._context.clock()
        namespace = job.metadata.namespace
        if job.spec.terminate:
            await write_status(context, JOBS, raw, life.terminated(job, now))
            return
        experiment = experiment_of(raw, self._context.objects)
        if experiment is None:
            await self._wait_for(raw, job, "Experiment", job.spec.experiment)
            return
        if not admits(experiment):
            workspace = experiment["spec"]["workspace"]
            if context.objects.get("Workspace", namespace, workspace) is None:
                await self._wait_for(raw, job, "Workspace", workspace)
            return  # else the Experiment's own pass makes it known
        job = admitted(job, experiment, context.subscription, now)
        try:
            check_admitted(job, context.settings)
        except SpecError as error:
            problem = Problem("InvalidJob", str(error), {"field": error.field})
            await write_status(context, JOBS, await self._adopted(raw), life.failed(job, problem, now))
            return
        cluster = context.objects.get("Cluster", namespace, job.spec.cluster)
        if cluster is None:
            await self._wait_for(raw, job, "Cluster", job.spec.cluster)
            return
        if cluster.get("status", {}).get("provisioningState") != "succeeded":
            # Its queue does not move yet, and says nothing.
            await write_status(context, JOBS, raw, _held_up(job, Cluster.model_validate(cluster), now))
        context.queue.add(Key("Cluster", namespace, job.spec.cluster))

    async def _wait_for(self, raw: Object, job: Job, kind: str, name: str) -> None:
        message = f"waits for {kind} '{name}': it does not exist in namespace '{job.metadata.namespace}'"
        status = life.waiting(job, f"{kind}NotFound", message, position=None, now=self._context.clock())
        await write_status(self._context, JOBS, raw, status)

    async def _run(self, raw: Object, job: Job, own: list[dict[str, Any]]) -> float | None:
        context, now = self._context, self._context.clock()
        current = str(job.status.attempt)
        pods = {
            int(pod["metadata"]["labels"][names.LABEL_INDEX]): pod
            for pod in own
            if pod["metadata"]["labels"][names.LABEL_ATTEMPT] == current
        }
        # A result that is there already counts.
        stops = job.spec.terminate and not (0 in pods and ended(pods[0]))
        if stops and job.status.execution_state == "running":
            await write_status(context, JOBS, raw, life.terminating(job, now))
            raw = context.objects.get("Job", job.metadata.namespace, job.metadata.name) or raw
            job = context.models.of(raw)
        await self._remove(pod for pod in own if pod["metadata"]["labels"][names.LABEL_ATTEMPT] != current)
        failures = {
            uid: message
            for pod in pods.values()
            if (message := context.mount_failures.get(uid := pod["metadata"]["uid"])) is not None
        }
        step = life.observed(
            job,
            pods,
            expected=job.spec.node_count,
            mount_failures=failures,
            dead_nodes=[name for name in job.status.nodes or [] if self._is_dead(name)],
            faults=list(self._faults(job)),
            now=now,
        )
        starts = step.status.execution_state == "running" and len(pods) < job.spec.node_count
        if starts and not step.stop_pods and not life.has_started(job):
            step = await self._start(job, pods) or step
        return await self._apply(raw, step, pods)

    async def _start(self, job: Job, pods: Mapping[int, Object]) -> life.Step | None:
        """Creates the attempt's missing pods; a step other than the observed one if that cannot be done."""
        context, now = self._context, self._context.clock()
        cluster = context.objects.get("Cluster", job.metadata.namespace, job.spec.cluster)
        nodes = [context.nodes.get("", name) for name in job.status.nodes or []]
        if cluster is None or None in nodes:
            text = "A node of the job is gone" if cluster else f"Cluster '{job.spec.cluster}' was deleted"
            return life.lost(job, Problem("NodeLost", text, {}), now)
        attempt = Attempt(
            number=job.status.attempt or 1,
            nodes=tuple(job.status.nodes or ()),
            gpus=min(view(node).gpus for node in nodes if node is not None),
        )
        spec = Cluster.model_validate(cluster).spec
        settings = context.settings
        images = Images(settings.launcher_image, default_images(spec, settings.default_images, settings.vm_images))
        identity = stored_identity(job)
        try:
            vaults = provider_classes(job, context.settings.vault_identity)
            mounts = all_mounts(job, identity, spec, surroundings(context, job.metadata.namespace))
            planned = job_pods(
                job,
                identity,
                attempt,
                cluster=spec,
                images=images,
                mounts=mounts,
                cluster_domain=context.settings.cluster_domain,
            )
        except SpecError as error:
            problem = Problem("InvalidJob", str(error), {"field": error.field})
            return life.Step(life.failed(job, problem, now), stop_pods=True)
        except DependencyNotReady as missing:
            return life.blocked(job, Problem(missing.reason, missing.message, {}), now)
        try:
            if not pods:
                await self._create_provider_classes(vaults)
                volume_owner = VolumeOwner(job.metadata.namespace, names.LABEL_JOB, owner(job))
                await self._volumes.make(mounts, volume_owner)
            if len(planned) > 1 and not pods:
                await self._create_surroundings(job, identity, spec)
            await together(self._create_pod(job, pod) for index, pod in enumerate(planned) if index not in pods)
        except DependencyNotReady as missing:
            return life.blocked(job, Problem(missing.reason, missing.message, {}), now)
        except ConflictError as conflict:
            # Most often of a deleted job of the same name, on a node that does not answer.
            return life.blocked(job, Problem("NameTaken", str(conflict), {}), now)
        except KubeApiError as error:
            if not error.refused:
                raise
            text = "What the job needs was refused by the Kubernetes API"
            return life.blocked(job, Problem("FailedStartingContainer", text, {"Info": str(error)}), now)
        return None

    async def _create_provider_classes(self, bodies: Iterable[dict[str, Any]]) -> None:
        """What the driver of Key Vaults is told. Raises DependencyNotReady where the cluster knows no such driver."""
        try:
            for body in bodies:
                await self._create(PROVIDER_CLASSES, body)
        except KubeApiError as error:
            if not error.not_found:
                raise
            raise DependencyNotReady(
                "KeyVaultDriverMissing",
                "The cluster has no SecretProviderClasses, so nothing in it reads Key Vaults: ask its administrator to "
                "install the Secrets Store CSI driver with the Azure provider",
            ) from None

    async def _create_surroundings(self, job: Job, identity: JobIdentity, cluster: ClusterSpec) -> None:
        """What the pods of several nodes need besides themselves; it is there before them."""
        await self._create(SERVICES, peers.service(job))
        if needs_shared_claim(job, identity, cluster) and cluster.shared_temp_storage_class:
            await self._create(CLAIMS, peers.shared_claim(job, cluster.shared_temp_storage_class))
        try:
            secret = peers.ssh_secret(job, token_bytes(32))
            await self._context.api.create(SECRETS, secret, namespace=job.metadata.namespace)
        except KubeApiError as error:
            # Its name has the job's UID: whose else could it be; the operator may not look into it.
            if not error.already_exists:
                raise

    async def _create_pod(self, job: Job, pod: dict[str, Any]) -> None:
        created = await self._create(PODS, pod)
        # Kept at once: a pass that came before the watch's news would create it again.
        self._context.pods.put(slim_pod(created))
        raw = self._context.objects.get("Job", job.metadata.namespace, job.metadata.name)
        if raw is not None:
            self._context.created(created, raw)

    async def _create(self, resource: Resource, body: dict[str, Any]) -> Object:
        """The object, which may have been there."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        try:
            return await self._context.api.create(resource, body, namespace=namespace)
        except KubeApiError as error:
            if not error.already_exists:
                raise
            existing = await self._context.api.get(resource, name, namespace=namespace)
            owners = {owner["uid"] for owner in existing["metadata"].get("ownerReferences", [])}
            if body["metadata"]["ownerReferences"][0]["uid"] not in owners:
                raise ConflictError(f"{body['kind']} {namespace}/{name} exists and belongs to somebody else") from None
            return existing

    def _is_dead(self, name: str) -> bool:
        node = self._context.nodes.get("", name)
        return node is None or not view(node).ready

    def _faults(self, job: Job) -> Iterator[life.NodeFault]:
        for name in job.status.nodes or []:
            node = self._context.nodes.get("", name)
            if node is not None and (fault := life.node_fault(view(node))) is not None:
                yield fault

    async def _apply(self, raw: Object, step: life.Step, pods: Mapping[int, Object]) -> float | None:
        """Writes the status first: a result is never lost by what follows."""
        await write_status(self._context, JOBS, raw, step.status)
        if step.status.execution_state in TERMINAL_STATES:
            await self._finish(pods.values())
            # Nothing may ever bring this job back.
            await self._volumes.sweep(names.LABEL_JOB, raw["metadata"]["namespace"], raw["metadata"]["name"], None)
        elif step.stop_pods and step.status.execution_state in {"running", "terminating"}:
            await self._delete(pod for pod in pods.values() if not ended(pod))
        elif step.stop_pods:
            await self._remove(pods.values())
        return step.look_again.total_seconds() if step.look_again else None

    async def _finish(self, pods: Iterable[Object]) -> None:
        """The job has ended: pods that ended stay for their logs, the others go."""
        left = list(pods)
        await together(self._release(pod) for pod in left if ended(pod))
        await self._remove(pod for pod in left if not ended(pod))

    async def _remove(self, pods: Iterable[Object]) -> None:
        """Deletes pods and gives up their results."""
        left = list(pods)
        await self._delete(left)
        await together(self._release(pod) for pod in left)

    async def _delete(self, pods: Iterable[Object]) -> None:
        await together(
            gone_is_fine(
                self._context.api.delete(PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"])
            )
            for pod in pods
            if "deletionTimestamp" not in (metadata := pod["metadata"])
        )

    async def _release(self, pod: Object) -> None:
        """Takes our finalizer from the pod; its result is in the status, or nobody asks for it any more."""
        metadata = pod["metadata"]
        finalizers = metadata.get("finalizers", [])
        if names.FINALIZER_RESULT not in finalizers:
            return
        kept = [finalizer for finalizer in finalizers if finalizer != names.FINALIZER_RESULT]
        body = {"metadata": {"uid": metadata["uid"], "finalizers": kept}}
        await gone_is_fine(self._patch_pod(metadata["namespace"], metadata["name"], body))

    async def _patch_pod(self, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        self._context.pods.put(slim_pod(await self._context.api.patch(PODS, name, body, namespace=namespace)))


def _held_up(job: Job, cluster: Cluster, now: datetime) -> JobStatus:
    """A job whose Cluster has no queue yet waits for what that one says; before its first pass it says nothing."""
    ready = find(cluster.status.conditions, READY)
    if ready is None:
        return job.status
    message = f"waits for Cluster '{cluster.metadata.name}': {ready.message}"
    return life.waiting(job, ready.reason, message, position=None, now=now)


def _is_of(pod: Object, uid: str | None) -> bool:
    return bool(pod["metadata"]["labels"][names.LABEL_JOB_UID] == uid)


def _state(raw: Object) -> str | None:
    state: str | None = raw.get("status", {}).get("executionState")
    return state


def _has_ended(raw: Object) -> bool:
    return _state(raw) in TERMINAL_STATES
