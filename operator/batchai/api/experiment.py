"""Experiment: groups jobs (Batch AI reference §1.4)."""

from typing import Annotated

from pydantic import Field

from batchai.api.base import Model, ObjectMeta
from batchai.api.schema import text
from batchai.api.workspace import ProvisioningStatus


class ExperimentSpec(Model):
    """Where the experiment belongs."""

    workspace: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="The Workspace in the same namespace that the experiment belongs to."
    )


class ExperimentStatus(ProvisioningStatus):
    """What the operator observed."""


class Experiment(Model):
    """Groups jobs; deleting it deletes them."""

    metadata: ObjectMeta
    spec: ExperimentSpec
    status: ExperimentStatus = ExperimentStatus()
