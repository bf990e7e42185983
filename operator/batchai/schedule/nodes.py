"""The nodes of a cluster: which Kubernetes nodes fit, which it owns, and what each of them does.

A node belongs to the Cluster whose name and namespace its labels carry; nothing else is remembered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchai.api import names
from batchai.api.cluster import ClusterSpec

NodeObject = Mapping[str, Any]


@dataclass(frozen=True)
class NodeView:
    """What scheduling needs of a Kubernetes node. owner: (namespace, name) of the Cluster, or None."""

    name: str
    owner: tuple[str, str] | None
    ready: bool
    schedulable: bool
    gpus: int
    gpus_expected: bool

    @property
    def usable(self) -> bool:
        """A job could start here."""
        return self.ready and self.schedulable and (self.gpus > 0 or not self.gpus_expected)


@dataclass(frozen=True)
class NodeCounts:
    """Nodes by state (reference §1.2)."""

    idle: int = 0
    running: int = 0
    preparing: int = 0
    unusable: int = 0
    leaving: int = 0


@dataclass(frozen=True)
class Membership:
    """Which nodes a cluster should claim and release to come to its target, and those it keeps."""

    claim: tuple[str, ...]
    release: tuple[str, ...]
    leaving: frozenset[str]


def view(node: NodeObject) -> NodeView:
    """Reads a node object of the API."""
    labels = node["metadata"].get("labels", {})
    owner = None
    if names.LABEL_CLUSTER in labels:
        owner = (labels.get(names.LABEL_CLUSTER_NAMESPACE, ""), labels[names.LABEL_CLUSTER])
    status = node.get("status", {})
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions", [])
    )
    return NodeView(
        name=node["metadata"]["name"],
        owner=owner,
        ready=ready,
        schedulable=not node.get("spec", {}).get("unschedulable", False),
        gpus=int(status.get("allocatable", {}).get(names.GPU_RESOURCE, "0")),
        gpus_expected=_has_gpus(labels.get(names.INSTANCE_TYPE_LABEL, "")),
    )


def fits(node: NodeObject, spec: ClusterSpec) -> bool:
    """The node is of the cluster's VM size (any case) and carries its nodeSelector's labels."""
    labels = node["metadata"].get("labels", {})
    size: str = labels.get(names.INSTANCE_TYPE_LABEL, "")
    selector = spec.node_selector or {}
    return size.lower() == spec.vm_size.lower() and all(labels.get(key) == value for key, value in selector.items())


def membership(
    candidates: Sequence[NodeView], cluster: tuple[str, str], *, target: int, busy: frozenset[str]
) -> Membership:
    """Claims free nodes up to the target, or gives back what is over it: unusable and idle nodes at once.

    candidates: the nodes that fit; a node over the target that runs a job leaves when the job has ended.
    A node that another Cluster owns is never touched.
    """
    own = [node for node in candidates if node.owner == cluster]
    if len(own) <= target:
        free = sorted(node.name for node in candidates if node.owner is None and node.usable)
        return Membership(tuple(free[: target - len(own)]), (), frozenset())
    # What cannot run jobs goes first, then idle nodes, then busy ones.
    by_worth = sorted(own, key=lambda node: (node.name in busy, node.usable, node.name))
    surplus = [node.name for node in by_worth[: len(own) - target]]
    return Membership(
        (),
        tuple(name for name in surplus if name not in busy),
        frozenset(name for name in surplus if name in busy),
    )


def count(own: Iterable[NodeView], *, busy: frozenset[str], leaving: frozenset[str]) -> NodeCounts:
    """The states of a cluster's nodes."""
    states = [state(node, busy=busy, leaving=leaving) for node in own]
    return NodeCounts(**{name: states.count(name) for name in NodeCounts.__dataclass_fields__})


def state(node: NodeView, *, busy: frozenset[str], leaving: frozenset[str]) -> str:
    """One of reference §1.2's node states, a field of NodeCounts."""
    if node.name in leaving:
        return "leaving"
    if node.name in busy:
        return "running"
    if not node.ready or not node.schedulable:
        return "unusable"
    return "idle" if node.usable else "preparing"


def _has_gpus(instance_type: str) -> bool:
    """Azure's GPU sizes are the N families (Standard_NC6, Standard_ND40rs_v2, Standard_NV12s_v3)."""
    return instance_type.lower().startswith("standard_n")
