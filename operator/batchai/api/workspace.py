"""Workspace: groups everything else (Batch AI reference §1.1)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from batchai.api.base import Conditions, Model, ObjectMeta
from batchai.api.schema import text

ProvisioningState = Literal["creating", "updating", "succeeded", "failed", "deleting"]


class WorkspaceSpec(Model):
    """A workspace has no behaviour of its own."""

    location: Annotated[str, text(maximum=256)] | None = Field(
        default=None, description="Free text; the service's region."
    )
    tags: dict[str, str] | None = Field(default=None, description="Tags of the user.")


class ProvisioningStatus(Model):
    """What every resource but a Job says of itself."""

    provisioning_state: ProvisioningState | None = Field(default=None, description="State of the resource.")
    provisioning_state_transition_time: datetime | None = Field(
        default=None, description="When the provisioning state changed last."
    )
    conditions: Conditions | None = Field(default=None, description="Kubernetes conditions.")
    observed_generation: int | None = Field(default=None, description="Generation that the status is about.")


class WorkspaceStatus(ProvisioningStatus):
    """What the operator observed."""


class Workspace(Model):
    """Groups clusters, file servers, experiments and jobs; deleting it deletes them."""

    metadata: ObjectMeta
    spec: WorkspaceSpec = WorkspaceSpec()
    status: WorkspaceStatus = WorkspaceStatus()
