"""What every reconciler is given: the API, what is known of the cluster, the queue, the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from batchai.api.base import Model
from batchai.kube.client import KubeApi
from batchai.kube.store import Object, ObjectStore, Store
from batchai.reconcile.models import JobModels
from batchai.reconcile.queue import WorkQueue
from batchai.settings import Settings


class Key(NamedTuple):
    """One object of ours."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Context:
    """The surroundings of a reconciler.

    volumes: the PersistentVolumes that were made for jobs and clusters, by the labels of their owners;
    mount_failures: pod UID → message of the kubelet's last FailedMount event; subscription: the UID of the
    kube-system namespace, which takes the place of the service's subscription id; written: told of each status
    that was written, with the object as it was, its status before, and after; created: of each pod that was made for
    a job, with the job; neither fails or waits; models: of Jobs, shared.
    """

    api: KubeApi
    objects: ObjectStore
    pods: Store
    nodes: Store
    volumes: Store
    mount_failures: Mapping[str, str]
    queue: WorkQueue[Key]
    settings: Settings
    clock: Callable[[], datetime]
    subscription: str
    written: Callable[[Object, Model, Model], None] = lambda *_: None
    created: Callable[[Object, Object], None] = lambda *_: None
    models: JobModels = field(default_factory=JobModels)


class Reconciler(Protocol):
    """Brings one object closer to its spec, from whatever state it is in."""

    async def reconcile(self, key: Key) -> float | None:
        """One pass; seconds until the next one without an event, or None."""
