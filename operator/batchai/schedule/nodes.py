"""The nodes of a cluster: which Kubernetes nodes fit, which it owns, and what each of them does.

A node belongs to the Cluster whose name and namespace its labels carry; nothing else is remembered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchai.api import names
from batchai.api.cluster import ClusterSpec, Toleration

NodeObject = Mapping[str, Any]

REMOVAL_TAINTS = frozenset(
    {
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "node.cloudprovider.kubernetes.io/shutdown",
        "remediator.kubernetes.azure.com/unschedulable",
    }
)
"""What autoscalers and Azure write on a node that they are about to take away."""
_PREEMPTION_CONDITIONS = frozenset({"PreemptScheduled", "PreemptionScheduled"})
SPOT_LABELS = {
    "kubernetes.azure.com/scalesetpriority": "spot",
    "kubernetes.azure.com/priority": "spot",
    "karpenter.sh/capacity-type": "spot",
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
}
SPOT_TAINTS = ("kubernetes.azure.com/scalesetpriority", "cloud.google.com/gke-spot", "karpenter.sh/capacity-type")
"""Keys of the taints that keep other pods off spot nodes."""
_GPU_LABELS = {
    "nvidia.com/gpu.present": "true",
    "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia",
    "karpenter.azure.com/sku-gpu-manufacturer": "nvidia",
}
"""What NVIDIA's feature discovery and Karpenter write on nodes with GPUs, often before the device plugin is there."""
_GKE_GPU_LABEL = "cloud.google.com/gke-accelerator"
"""With the model of the GPU, which is always one of NVIDIA's."""
_OWN_TAINTS = frozenset({names.TAINT_CLUSTER, names.TAINT_GPU_UNHEALTHY, names.GPU_RESOURCE})
"""Taints that job pods tolerate, or that a property of NodeView of its own stands for."""


@dataclass(frozen=True)
class NodeView:
    """What scheduling needs of a Kubernetes node.

    owner: (namespace, name) of the Cluster, or None. gpus_expected: while it has no GPUs it is not ready for jobs.
    broken_gpus: devices that the node has but does not offer. gpu_problem: what the health agent found. going: who
    takes the node away. barred: a taint that jobs of the cluster do not tolerate. boot: changes with the node and with
    each of its reboots; prepared: the fingerprint of the setup that it went through.
    """

    name: str
    owner: tuple[str, str] | None
    ready: bool
    schedulable: bool
    gpus: int
    gpus_expected: bool
    broken_gpus: int = 0
    gpu_problem: str | None = None
    preempted: bool = False
    going: str | None = None
    barred: str | None = None
    boot: str = ""
    prepared: str | None = None

    @property
    def problem(self) -> str | None:
        """Why no job may start here, in words; None for a node that is fine or is still being made ready."""
        if not self.ready:
            return "is not ready"
        if self.gpu_problem is not None:
            return f"has a sick GPU: {self.gpu_problem}"
        if self.broken_gpus:
            return f"has {self.broken_gpus} GPUs that its device plugin calls unhealthy"
        if not self.schedulable:
            return "is cordoned"
        if self.barred is not None:
            return f"has the taint {self.barred}, which the cluster's tolerations do not name"
        return None

    @property
    def usable(self) -> bool:
        """A job could start here, as far as Kubernetes is concerned."""
        return self.problem is None and self.going is None and (self.gpus > 0 or not self.gpus_expected)


@dataclass(frozen=True)
class NodeCounts:
    """Nodes by state (reference §1.2)."""

    idle: int = 0
    running: int = 0
    preparing: int = 0
    unusable: int = 0
    leaving: int = 0

    @property
    def total(self) -> int:
        """All nodes that the cluster has."""
        return self.staying + self.leaving

    @property
    def staying(self) -> int:
        """Those that count for the target."""
        return self.idle + self.running + self.preparing + self.unusable


@dataclass(frozen=True)
class Membership:
    """Which nodes a cluster should claim and release to come to its target, and the busy ones that must leave."""

    claim: tuple[str, ...]
    release: tuple[str, ...]
    leaving: frozenset[str]


def view(node: NodeObject, tolerations: Sequence[Toleration] = ()) -> NodeView:
    """Reads a node object of the API; tolerations are those of the cluster's jobs."""
    metadata, status = node["metadata"], node.get("status", {})
    labels, spec = metadata.get("labels", {}), node.get("spec", {})
    owner = None
    if names.LABEL_CLUSTER in labels:
        owner = (labels.get(names.LABEL_CLUSTER_NAMESPACE, ""), labels[names.LABEL_CLUSTER])
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    taints = spec.get("taints", [])
    gpus, capacity = (int(status.get(kind, {}).get(names.GPU_RESOURCE, "0")) for kind in ("allocatable", "capacity"))
    preempted = any(conditions.get(kind, {}).get("status") == "True" for kind in _PREEMPTION_CONDITIONS)
    return NodeView(
        name=metadata["name"],
        owner=owner,
        ready=conditions.get("Ready", {}).get("status") == "True",
        schedulable=not spec.get("unschedulable", False),
        gpus=gpus,
        gpus_expected=_expects_gpus(labels),
        broken_gpus=max(0, capacity - gpus),
        gpu_problem=_gpu_problem(conditions.get(names.CONDITION_GPU_HEALTHY), taints),
        preempted=preempted,
        going="Azure, which preempts it" if preempted else _taker(metadata, taints),
        barred=next((taint["key"] for taint in taints if not _tolerated(taint, tolerations)), None),
        boot=f"{metadata.get('uid', '')}/{status.get('nodeInfo', {}).get('bootID', '')}",
        prepared=metadata.get("annotations", {}).get(names.ANNOTATION_PREPARED),
    )


def fits(node: NodeObject, spec: ClusterSpec) -> bool:
    """The node is of the cluster's VM size (any case) and priority and carries its nodeSelector's labels."""
    labels = node["metadata"].get("labels", {})
    size: str = labels.get(names.INSTANCE_TYPE_LABEL, "")
    selector = spec.node_selector or {}
    return (
        size.lower() == spec.vm_size.lower()
        and is_spot(labels) == (spec.vm_priority == "lowpriority")
        and all(labels.get(key) == value for key, value in selector.items())
    )


def is_spot(labels: Mapping[str, str]) -> bool:
    """The cloud may take the node away at any time."""
    return any(labels.get(key) == value for key, value in SPOT_LABELS.items())


def membership(
    candidates: Sequence[NodeView],
    cluster: tuple[str, str],
    *,
    target: int,
    held: Mapping[str, str],
    expendable: Sequence[str],
) -> Membership:
    """Claims free nodes up to the target, or gives back what is over it: unusable and idle nodes at once.

    candidates: the nodes that fit; held: node → job that holds it; expendable: jobs in the order in which they
    should lose their nodes, if idle ones do not suffice. A node that another Cluster owns is never touched. An
    unusable node is exchanged when there is a free one; one that somebody takes away does not count any more.
    """
    own = [node for node in candidates if node.owner == cluster]
    gone = [node for node in own if node.going is not None]
    kept = [node for node in own if node.going is None]
    free = sorted(node.name for node in candidates if node.owner is None and node.usable)
    ranks = {name: index for index, name in enumerate(expendable)}
    worst_first = sorted(kept, key=lambda node: _worth(node, held, ranks))
    broken = [node.name for node in worst_first if node.problem is not None and node.name not in held]
    surplus = [node.name for node in worst_first[: max(0, len(kept) - target)]]
    exchanged = [name for name in broken if name not in surplus][: min(len(free), max(0, target))]
    missing = max(0, target - len(kept)) + len(exchanged)
    claim = free[:missing]
    exchanged = exchanged[: max(0, len(claim) - max(0, target - len(kept)))]
    leaving = [*(node.name for node in gone), *surplus, *exchanged]
    return Membership(
        tuple(claim),
        tuple(name for name in leaving if name not in held),
        frozenset(name for name in leaving if name in held),
    )


def _worth(node: NodeView, held: Mapping[str, str], ranks: Mapping[str, int]) -> tuple[int, int, str]:
    """What cannot run jobs goes first, then idle nodes, then those of the most expendable jobs."""
    job = held.get(node.name)
    if job is None:
        return (0 if node.problem is not None else 1 if not node.usable else 2, 0, node.name)
    return (3, ranks.get(job, -1), node.name)


def count(states: Iterable[str]) -> NodeCounts:
    """How many nodes are in each state."""
    found = list(states)
    return NodeCounts(**{name: found.count(name) for name in NodeCounts.__dataclass_fields__})


def state(node: NodeView, *, busy: bool, leaving: bool, ready: bool = True, failed: bool = False) -> str:
    """One of reference §1.2's node states, a field of NodeCounts.

    ready, failed: the cluster's own setup, if it has one, has succeeded here, or cannot.
    """
    if leaving or node.going is not None:
        return "leaving"
    if busy:
        return "running"
    if node.problem is not None or failed:
        return "unusable"
    return "idle" if node.usable and ready else "preparing"


def has_gpus(instance_type: str) -> bool:
    """Azure's GPU sizes are the N families (Standard_NC6, Standard_ND40rs_v2, Standard_NV12s_v3)."""
    return instance_type.lower().startswith("standard_n")


def _expects_gpus(labels: Mapping[str, str]) -> bool:
    """The machine has GPUs, as its administrator says; else by its VM size or by what others know of it."""
    count = labels.get(names.LABEL_GPU_COUNT, "")
    if count.isdecimal():
        return int(count) > 0
    return (
        has_gpus(labels.get(names.INSTANCE_TYPE_LABEL, ""))
        or _GKE_GPU_LABEL in labels
        or any(labels.get(key) == value for key, value in _GPU_LABELS.items())
    )


def _gpu_problem(condition: Mapping[str, Any] | None, taints: Sequence[Mapping[str, Any]]) -> str | None:
    """The health agent's word: its taint decides, its condition says what it is."""
    if not any(taint["key"] == names.TAINT_GPU_UNHEALTHY for taint in taints):
        return None
    return (condition or {}).get("message") or (condition or {}).get("reason") or "the health agent does not say which"


def _taker(metadata: Mapping[str, Any], taints: Sequence[Mapping[str, Any]]) -> str | None:
    if "deletionTimestamp" in metadata:
        return "whoever deletes it"
    return next((f"the taint {taint['key']}" for taint in taints if taint["key"] in REMOVAL_TAINTS), None)


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Toleration]) -> bool:
    """The taint keeps no job off: it is ours, another property tells of it, or a toleration names it."""
    key: str = taint["key"]
    if taint.get("effect") == "PreferNoSchedule" or key in _OWN_TAINTS | REMOVAL_TAINTS:
        return True
    if key.startswith("node.kubernetes.io/"):
        return True
    return any(
        toleration.key in {None, key}
        and toleration.effect in {None, taint.get("effect")}
        and (toleration.operator == "Exists" or (toleration.value or "") == taint.get("value", ""))
        for toleration in tolerations
    )
