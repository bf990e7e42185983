"""The base of all API models: Batch AI's camelCase on the wire, snake_case in Python."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from batchai.api.schema import keyed


class Model(BaseModel):
    """A part of a resource. Immutable; unknown fields are ignored, so that older code reads newer objects."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class OwnerReference(Model):
    """One entry of metadata.ownerReferences."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(Model):
    """The part of Kubernetes' metadata that the project reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Condition(Model):
    """A Kubernetes condition; reason is CamelCase, message a sentence."""

    type: str
    status: str
    reason: str
    message: str = ""
    last_transition_time: datetime
    observed_generation: int | None = None


Conditions = Annotated[list[Condition], keyed("type")]
