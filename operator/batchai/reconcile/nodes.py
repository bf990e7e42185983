"""What a Cluster does with nodes: claims them, makes them ready, asks for missing ones, gives them back.

A claim names the node's resourceVersion, so two Clusters never own one node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster
from batchai.errors import DependencyNotReady, KubeApiError, SpecError
from batchai.kube.client import CAPACITY_BUFFERS, NODES, POD_TEMPLATES, PODS, Resource
from batchai.kube.store import Object
from batchai.plan.mounts import cluster_mounts
from batchai.plan.naming import azure_name, placeholder_name, setup_name
from batchai.plan.ownership import owner
from batchai.plan.placeholders import KEPT, buffer, buffer_template, placeholder
from batchai.plan.setup import SetupImages, path_suffix, required_setup, setup_fingerprint, setup_pod
from batchai.plan.static_volumes import VolumeOwner
from batchai.reconcile import routing
from batchai.reconcile.context import Context
from batchai.reconcile.slim import slim_node
from batchai.reconcile.storage import StaticVolumes, surroundings
from batchai.reconcile.writes import gone_is_fine, together
from batchai.schedule.ledger import ended
from batchai.schedule.nodes import NodeView
from batchai.status.cluster import NodeProblem
from batchai.status.pods import Outcome, Problem, outcome, start_problem

Owner = tuple[str, str]
"""Namespace and name of a Cluster."""


@dataclass(frozen=True)
class Readiness:
    """The nodes that went through the Cluster's setup, and why others cannot.

    log_suffix: stdOutErrPathSuffix of the setup task, if there is one.
    """

    ready: frozenset[str]
    problems: Mapping[str, NodeProblem]
    log_suffix: str | None


class NodeKeeper:
    """Changes nodes, and the pods on them that are no job's."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._volumes = StaticVolumes(context)

    async def claim(self, owner: Owner, nodes: Sequence[str]) -> None:
        """Makes nodes the Cluster's own. Raises KubeApiError 409 if somebody changed one of them meanwhile."""
        namespace, name = owner
        taint = {"key": names.TAINT_CLUSTER, "value": name, "effect": "NoSchedule"}
        labels = {names.LABEL_CLUSTER: name, names.LABEL_CLUSTER_NAMESPACE: namespace}
        await together(self._change(node, labels, KEPT, [taint]) for node in nodes)

    async def release(self, nodes: Sequence[str]) -> None:
        """Takes back everything that a claim wrote on nodes."""
        labels = {names.LABEL_CLUSTER: None, names.LABEL_CLUSTER_NAMESPACE: None}
        annotations = dict.fromkeys((*KEPT, names.ANNOTATION_PREPARED))
        await together(self._change(node, labels, annotations, []) for node in nodes)

    async def sweep(self, owner: Owner, uid: str | None) -> None:
        """Removes the volumes that were made for a Cluster of this name, but for those of the one with this UID."""
        await self._volumes.sweep(names.LABEL_SETUP, *owner, uid)

    async def prepare(self, cluster: Cluster, raw: Object, nodes: Iterable[NodeView]) -> Readiness:
        """Brings the Cluster's setup forward on its nodes; busy ones are not among `nodes`."""
        ready: set[str] = set()
        problems: dict[str, NodeProblem] = {}
        wanted: dict[str, tuple[NodeView, str]] = {}
        suffix = path_suffix(
            self._context.subscription, raw["metadata"]["labels"][names.LABEL_WORKSPACE], cluster, azure_name(raw)
        )
        required = required_setup(cluster)
        for node in nodes:
            if required is None or node.prepared == (fingerprint := setup_fingerprint(required, node)):
                ready.add(node.name)
            else:
                wanted[setup_name(cluster.metadata.name, node.name, fingerprint)] = node, fingerprint
        pods = {pod["metadata"]["name"]: pod for pod in self._pods(cluster) if names.LABEL_SETUP in _labels(pod)}
        await self._delete(pod for name, pod in pods.items() if name not in wanted)
        for name, (node, fingerprint) in wanted.items():
            problem = await self._set_up(cluster, suffix, node, fingerprint, pods.get(name))
            if problem is not None:
                problems[node.name] = problem
        setup = cluster.spec.node_setup
        return Readiness(frozenset(ready), problems, suffix if setup and setup.setup_task else None)

    async def request(self, cluster: Cluster, count: int) -> str:
        """Asks autoscalers for `count` missing nodes; why none comes, in the scheduler's or the autoscaler's words."""
        way = cluster.spec.node_provisioning
        try:
            reason = await self._buffer(cluster, count) if way == "capacityBuffer" else None
            found = await self._placeholders(cluster, 0 if way == "none" or reason is not None else count)
        except KubeApiError as error:
            # A quota or a policy: the nodes that are there serve all the same.
            if not error.refused:
                raise
            return f"the Kubernetes API refused to ask for nodes: {error}"
        return reason or found

    async def _buffer(self, cluster: Cluster, count: int) -> str | None:
        """Keeps a CapacityBuffer of `count` nodes; what is wrong with it, None where Kubernetes knows none."""
        wanted = buffer(cluster, count)
        name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        api = self._context.api
        try:
            known = await api.get(CAPACITY_BUFFERS, name, namespace=namespace)
            if known["spec"].get("replicas") != count:
                await api.patch(CAPACITY_BUFFERS, name, {"spec": {"replicas": count}}, namespace=namespace)
            return _refusal(known)
        except KubeApiError as error:
            if not error.not_found:
                raise
        if count:
            template = buffer_template(cluster, self._context.settings.placeholder_image)
            await self._create(POD_TEMPLATES, template)
            try:
                await self._create(CAPACITY_BUFFERS, wanted)
            except KubeApiError as error:
                if not error.not_found:
                    raise
                return None
        return ""

    async def _placeholders(self, cluster: Cluster, count: int) -> str:
        """Keeps `count` placeholder pods; why they find no node, in the scheduler's words."""
        pods = [pod for pod in self._pods(cluster) if names.LABEL_PLACEHOLDER in _labels(pod)]
        # One that found its node or ended has done its work: those go first.
        pods.sort(
            key=lambda pod: (not ended(pod), "nodeName" not in pod["spec"], pod["metadata"]["name"]), reverse=True
        )
        kept = [pod for pod in pods if not ended(pod)][:count]
        await self._delete(pod for pod in pods if pod not in kept)
        taken = {pod["metadata"]["name"] for pod in pods}
        metadata = cluster.metadata
        free = (
            index
            for index in range(count + len(pods))
            if placeholder_name(metadata.name, metadata.uid, index) not in taken
        )
        image = self._context.settings.placeholder_image
        await together(
            self._create(PODS, placeholder(cluster, index, image))
            for _, index in zip(range(count - len(kept)), free, strict=False)
        )
        return next((text for pod in kept if (text := _unschedulable(pod))), "")

    async def _set_up(
        self, cluster: Cluster, suffix: str, node: NodeView, fingerprint: str, pod: Object | None
    ) -> NodeProblem | None:
        """One step of one node's setup: starts it, notes that it has succeeded, or says why it has not."""
        if pod is None:
            return await self._start_setup(cluster, suffix, node, fingerprint) if node.usable else None
        result = outcome(pod)
        if result is None:
            failure = self._context.mount_failures.get(pod["metadata"]["uid"])
            problem = start_problem(pod, failure)
            return _setup_problem(node.name, problem, None) if problem else None
        if result.problem is None:
            annotations = {names.ANNOTATION_PREPARED: fingerprint}
            await self._write(node.name, {"metadata": {"annotations": annotations}})
        elif not result.infrastructure:
            return _setup_problem(node.name, result.problem, result)
        await self._delete([pod])
        return None

    async def _start_setup(self, cluster: Cluster, suffix: str, node: NodeView, fingerprint: str) -> NodeProblem | None:
        context = self._context
        images = SetupImages(context.settings.launcher_image, context.settings.default_images["*"])
        metadata = cluster.metadata
        used = replace(surroundings(context, metadata.namespace), owner=metadata.uid)
        try:
            mounts = cluster_mounts(cluster.spec, used)
            pod = setup_pod(cluster, node, fingerprint, suffix=suffix, images=images, mounts=mounts)
        except SpecError as error:
            return NodeProblem(node.name, "InvalidCluster", f"cannot be set up: {error}")
        except DependencyNotReady as missing:
            return NodeProblem(node.name, missing.reason, missing.message)
        try:
            await self._volumes.make(mounts, VolumeOwner(metadata.namespace, names.LABEL_SETUP, owner(cluster)))
            await self._create(PODS, pod)
        except KubeApiError as error:
            if not error.refused:
                raise
            return NodeProblem(node.name, "SetupRefused", f"cannot be set up: the Kubernetes API refused it: {error}")
        return None

    def _pods(self, cluster: Cluster) -> list[Object]:
        key = f"{cluster.metadata.namespace}/{cluster.metadata.name}"
        return [
            pod
            for pod in self._context.pods.by_index("helpers", key)
            if any(owner["uid"] == cluster.metadata.uid for owner in pod["metadata"].get("ownerReferences", []))
        ]

    async def _create(self, resource: Resource, body: Object) -> None:
        try:
            await self._context.api.create(resource, body, namespace=body["metadata"]["namespace"])
        except KubeApiError as error:
            if not error.already_exists:
                raise

    async def _delete(self, pods: Iterable[Object]) -> None:
        for pod in list(pods):
            metadata = pod["metadata"]
            if "deletionTimestamp" not in metadata:
                await gone_is_fine(
                    self._context.api.delete(
                        PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"]
                    )
                )

    async def _change(
        self,
        node: str,
        labels: Mapping[str, str | None],
        annotations: Mapping[str, str | None],
        taints: Sequence[Mapping[str, str]],
    ) -> None:
        """Writes on a node as it is known; taints: ours, beside those of others."""
        raw = self._context.nodes.get("", node)
        if raw is None:
            return
        others = [taint for taint in raw["spec"].get("taints", []) if taint["key"] != names.TAINT_CLUSTER]
        version = raw["metadata"]["resourceVersion"]
        metadata = {"labels": labels, "annotations": annotations, "resourceVersion": version}
        await self._write(node, {"metadata": metadata, "spec": {"taints": [*others, *taints]}})

    async def _write(self, node: str, body: Mapping[str, Any]) -> None:
        context = self._context
        before = context.nodes.get("", node)
        try:
            after = slim_node(await context.api.patch(NODES, node, body))
        except KubeApiError as error:
            if not error.not_found:
                raise
            return
        if context.nodes.put(after):
            # The watch, which brings the same version, will be no news: other Clusters may want the node.
            for key in routing.of_node(before, after, context.objects):
                context.queue.add(key)


def _labels(pod: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = pod["metadata"]["labels"]
    return labels


def _setup_problem(node: str, problem: Problem, result: Outcome | None) -> NodeProblem:
    if result is not None and result.exit_code is not None:
        text = f"failed its setup task with exit code {result.exit_code}"
        return NodeProblem(node, "SetupTaskFailed", text, problem.details.get("Info", ""))
    text = f"cannot be set up: {problem.message}"
    return NodeProblem(node, problem.code, text, problem.details.get("Info", ""))


def _refusal(buffer: Object) -> str:
    """What keeps an autoscaler from a CapacityBuffer, as it says itself."""
    for condition in buffer.get("status", {}).get("conditions", []):
        bad = "True" if condition["type"] == "LimitedByQuotas" else "False"
        if condition["status"] == bad:
            return str(condition.get("message", ""))
    return ""


def _unschedulable(pod: Object) -> str:
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", ""))
    return ""
