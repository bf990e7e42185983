"""provisioningState and the Ready condition of everything that is not a job (Batch AI reference §1)."""

from datetime import datetime
from typing import Literal

from batchai.api.cluster import Cluster, ClusterStatus
from batchai.api.experiment import Experiment, ExperimentStatus
from batchai.api.fileserver import FileServer, FileServerStatus
from batchai.api.workspace import Workspace, WorkspaceStatus
from batchai.status.conditions import with_condition

READY = "Ready"

Status = WorkspaceStatus | ExperimentStatus | FileServerStatus | ClusterStatus
Member = Experiment | FileServer | Cluster
_Resource = Workspace | Experiment | FileServer | Cluster


def succeeded(resource: _Resource, now: datetime) -> Status:
    """The resource is there and belongs to its Workspace."""
    return _provisioned(resource, "succeeded", "Provisioned", "", now)


def orphan(resource: Member, now: datetime) -> Status:
    """The Workspace does not exist yet: the resource waits for it."""
    name = resource.spec.workspace
    message = f"waits for Workspace '{name}': it does not exist in namespace '{resource.metadata.namespace}'"
    return creating(resource, "WorkspaceNotFound", message, now)


def refused(resource: Member, reason: str, message: str, now: datetime) -> Status:
    """The resource may not be made."""
    return _provisioned(resource, "failed", reason, message, now)


def creating(resource: Member, reason: str, message: str, now: datetime) -> Status:
    """The resource is on its way; the message says what it waits for."""
    return _provisioned(resource, "creating", reason, message, now)


def degraded(resource: Member, reason: str, message: str, now: datetime) -> Status:
    """The resource is there, but not ready at the moment."""
    return _provisioned(resource, "succeeded", reason, message, now, ready=False)


def _provisioned(
    resource: _Resource,
    state: Literal["creating", "succeeded", "failed"],
    reason: str,
    message: str,
    now: datetime,
    *,
    ready: bool | None = None,
) -> Status:
    status: Status = resource.status
    since = status.provisioning_state_transition_time if status.provisioning_state == state else now
    return status.model_copy(
        update={
            "provisioning_state": state,
            "provisioning_state_transition_time": since,
            "observed_generation": resource.metadata.generation,
            "conditions": with_condition(
                status.conditions,
                READY,
                status=state == "succeeded" if ready is None else ready,
                reason=reason,
                message=message,
                now=now,
                generation=resource.metadata.generation,
            ),
        }
    )
