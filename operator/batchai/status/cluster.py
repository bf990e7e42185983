"""A Cluster's status: states and counts of its nodes (Batch AI reference §1.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batchai.api.base import Condition
from batchai.api.cluster import Cluster, ClusterStatus, NodeSetupStatus, NodeStateCounts, SetupTaskStatus
from batchai.api.job import ErrorDetail, JobError
from batchai.schedule.nodes import NodeCounts
from batchai.schedule.scaling import Target
from batchai.status.conditions import find, shorten, with_condition
from batchai.status.mounts import with_adjusted_options
from batchai.status.provisioning import orphan as _orphan
from batchai.status.provisioning import refused as _refused
from batchai.status.provisioning import succeeded

NODES_AVAILABLE = "NodesAvailable"
PATIENCE = timedelta(minutes=15)
"""How long nodes that are missing may still be on their way: the service's nodes took 10 to 15 minutes."""
_KEPT_ERRORS = 20
_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class NodeProblem:
    """Why a node cannot run jobs: Batch AI's code, words that follow the node's name, and the underlying text."""

    node: str
    code: str
    text: str
    info: str = ""


@dataclass(frozen=True)
class Observation:
    """What a pass over a cluster found and did.

    resizing: nodes are leaving; provider: why no node comes for a placeholder, as the scheduler says it; started:
    a job has nodes, or has had some; log_suffix: stdOutErrPathSuffix of the setup task, if there is one.
    """

    counts: NodeCounts
    target: Target
    resizing: bool
    problems: Sequence[NodeProblem]
    provider: str = ""
    started: bool = False
    log_suffix: str | None = None


def orphan(cluster: Cluster, now: datetime) -> ClusterStatus:
    """The Cluster's Workspace does not exist yet; it claims no nodes."""
    status = _orphan(cluster, now)
    assert isinstance(status, ClusterStatus)  # noqa: S101 - a Cluster's status stays one
    return status


def over_quota(cluster: Cluster, *, limit: int, used: int, now: datetime) -> ClusterStatus:
    """The namespace has as many Clusters as it may have; this one claims no nodes."""
    message = (
        f"The maximum number of clusters allowed is {limit} in namespace '{cluster.metadata.namespace}', {used} are in "
        "use: delete a Cluster, or ask for a higher limit"
    )
    status = _refused(cluster, "ClusterQuotaReached", message, now)
    assert isinstance(status, ClusterStatus)  # noqa: S101 - a Cluster's status stays one
    return status.model_copy(update={"errors": [JobError(code="ClusterQuotaReached", message=message)]})


def observed(cluster: Cluster, seen: Observation, now: datetime) -> ClusterStatus:
    """The status after a pass.

    The cluster is `resizing` while nodes leave, and for PATIENCE while nodes are missing; after that fewer nodes than
    the target are a steady state, as in the service, and an error says why.
    """
    status = succeeded(cluster, now)
    assert isinstance(status, ClusterStatus)  # noqa: S101 - a Cluster's status stays one
    counts, target = seen.counts, seen.target.nodes
    coming = expects_nodes(cluster, counts, target, now)
    missing = counts.staying < target
    allocation = "resizing" if seen.resizing or coming else "steady"
    since = status.allocation_state_transition_time if status.allocation_state == allocation else now
    errors = [_node_error(problem) for problem in seen.problems]
    if missing and not coming:
        details = [ErrorDetail(name="Info", value=shorten(seen.provider, _MESSAGE_LIMIT))] if seen.provider else None
        errors.append(JobError(code="NodesUnavailable", message=_availability(cluster, seen), details=details))
    return status.model_copy(
        update={
            "allocation_state": allocation,
            "allocation_state_transition_time": since,
            "target_node_count": target,
            "current_node_count": counts.total,
            "node_state_counts": NodeStateCounts(
                idle_node_count=counts.idle,
                running_node_count=counts.running,
                preparing_node_count=counts.preparing,
                unusable_node_count=counts.unusable,
                leaving_node_count=counts.leaving,
            ),
            "errors": errors[:_KEPT_ERRORS] or None,
            "node_setup": NodeSetupStatus(setup_task=SetupTaskStatus(std_out_err_path_suffix=seen.log_suffix))
            if seen.log_suffix
            else None,
            "first_job_time": status.first_job_time or (now if seen.started else None),
            "idle_since": seen.target.idle_since,
            "conditions": with_condition(
                with_adjusted_options(
                    _current(status, target, cluster.metadata.generation),
                    cluster.spec.shared_volumes,
                    now,
                    cluster.metadata.generation,
                ),
                NODES_AVAILABLE,
                status=not missing,
                reason="TooFewNodes" if missing else "TargetReached",
                message=_availability(cluster, seen),
                now=now,
                generation=cluster.metadata.generation,
            ),
        }
    )


def expects_nodes(cluster: Cluster, counts: NodeCounts, target: int, now: datetime) -> bool:
    """Nodes are missing and may still be on their way."""
    return counts.staying < target and patience_left(cluster, target, now) > timedelta(0)


def patience_left(cluster: Cluster, target: int, now: datetime) -> timedelta:
    """How long missing nodes are still expected; all of PATIENCE if none was missing or fewer were wanted until now."""
    condition = find(_current(cluster.status, target, cluster.metadata.generation), NODES_AVAILABLE)
    if condition is None or condition.status == "True":
        return PATIENCE
    return condition.last_transition_time + PATIENCE - now


def _current(status: ClusterStatus, target: int, generation: int) -> list[Condition]:
    """The conditions, without what they say of another spec, or of nodes that were missing before more were wanted."""
    raised = status.target_node_count is not None and target > status.target_node_count
    return [
        condition
        for condition in status.conditions or ()
        if condition.type != NODES_AVAILABLE
        or (condition.observed_generation == generation and not (raised and condition.status == "False"))
    ]


def _node_error(problem: NodeProblem) -> JobError:
    details = [ErrorDetail(name="Node", value=problem.node)]
    if problem.info:
        details.append(ErrorDetail(name="Info", value=shorten(problem.info, _MESSAGE_LIMIT)))
    return JobError(code=problem.code, message=f"Node {problem.node} {problem.text}", details=details)


def _availability(cluster: Cluster, seen: Observation) -> str:
    counts, target = seen.counts, seen.target.nodes
    if counts.staying >= target:
        return f"{counts.total} of {target} nodes"
    return (
        f"{counts.staying} of {target} nodes: no other usable node with instance type {cluster.spec.vm_size} is free "
        "in this Kubernetes cluster"
    )
