"""Jobs as models, read once per version: a cluster's pass looks at all of its jobs."""

from collections.abc import Iterable, Mapping
from typing import Any

from batchai.api.job import Job


class JobModels:
    """A cache by UID and version; what is not asked for any more is forgotten."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Job]] = {}

    def read(self, items: Iterable[Mapping[str, Any]]) -> list[Job]:
        """The models of all objects of one cluster; exactly these are kept."""
        found: dict[str, tuple[str, Job]] = {}
        for item in items:
            metadata = item["metadata"]
            uid, version = metadata["uid"], metadata["resourceVersion"]
            known = self._known.get(uid)
            if known is None or known[0] != version:
                known = (version, Job.model_validate(item))
            found[uid] = known
        self._known = found
        return [model for _, model in found.values()]
