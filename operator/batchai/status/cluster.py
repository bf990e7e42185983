"""A Cluster's status: states and counts of its nodes (Batch AI reference §1.2)."""

from datetime import datetime

from batchai.api.cluster import Cluster, ClusterStatus, NodeStateCounts
from batchai.schedule.nodes import Membership, NodeCounts
from batchai.status.conditions import with_condition
from batchai.status.provisioning import orphan as _orphan
from batchai.status.provisioning import succeeded

NODES_AVAILABLE = "NodesAvailable"


def orphan(cluster: Cluster, now: datetime) -> ClusterStatus:
    """The Cluster's Workspace does not exist yet; it claims no nodes."""
    status = _orphan(cluster, now)
    assert isinstance(status, ClusterStatus)  # noqa: S101 - a Cluster's status stays one
    return status


def observed(cluster: Cluster, counts: NodeCounts, *, target: int, change: Membership, now: datetime) -> ClusterStatus:
    """The status after a pass in which `change` was carried out.

    The cluster is `resizing` while it still has nodes that it must give back; fewer nodes than the target is
    a steady state, as in the service: the condition NodesAvailable says what is missing.
    """
    status = succeeded(cluster, now)
    assert isinstance(status, ClusterStatus)  # noqa: S101 - a Cluster's status stays one
    total = counts.idle + counts.running + counts.preparing + counts.unusable + counts.leaving
    allocation = "resizing" if change.leaving else "steady"
    since = status.allocation_state_transition_time if status.allocation_state == allocation else now
    return status.model_copy(
        update={
            "allocation_state": allocation,
            "allocation_state_transition_time": since,
            "current_node_count": total,
            "node_state_counts": NodeStateCounts(
                idle_node_count=counts.idle,
                running_node_count=counts.running,
                preparing_node_count=counts.preparing,
                unusable_node_count=counts.unusable,
                leaving_node_count=counts.leaving,
            ),
            "conditions": with_condition(
                status.conditions,
                NODES_AVAILABLE,
                status=total >= target,
                reason="TargetReached" if total >= target else "TooFewNodes",
                message=_availability(cluster, total, target),
                now=now,
                generation=cluster.metadata.generation,
            ),
        }
    )


def _availability(cluster: Cluster, total: int, target: int) -> str:
    if total >= target:
        return f"{total} of {target} nodes"
    return (
        f"{total} of {target} nodes: no other usable node with instance type {cluster.spec.vm_size} is free in "
        "this Kubernetes cluster"
    )
