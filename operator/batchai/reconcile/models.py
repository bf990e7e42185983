"""What was read of objects, once per version of each: a cluster's pass looks at all of its jobs and nodes."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from batchai.api.job import Job
from batchai.kube.store import Object

T = TypeVar("T")


class Versions(Generic[T]):
    """What `make` says of objects, remembered by UID and version."""

    def __init__(self, make: Callable[[Object], T]) -> None:
        self._make = make
        self._known: dict[str, tuple[str, T]] = {}

    def read(self, items: Iterable[Object]) -> list[T]:
        """What `make` says of each object; all others are forgotten."""
        found: dict[str, tuple[str, T]] = {}
        for item in items:
            metadata = item["metadata"]
            uid, version = metadata["uid"], metadata["resourceVersion"]
            known = self._known.get(uid)
            if known is None or known[0] != version:
                known = (version, self._make(item))
            found[uid] = known
        self._known = found
        return [value for _, value in found.values()]


class JobModels:
    """Jobs as models, each version read once as long as somebody keeps the model: a Cluster does while a job waits or
    runs.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, Job] = WeakValueDictionary()

    def of(self, raw: Object) -> Job:
        """The model of a Job as the API shows it."""
        metadata = raw["metadata"]
        known = self._known.get(metadata["uid"])
        if known is None or known.metadata.resource_version != metadata["resourceVersion"]:
            known = self._known[metadata["uid"]] = Job.model_validate(raw)
        return known
