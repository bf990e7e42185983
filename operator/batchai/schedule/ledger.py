"""Who holds which node: computed from Jobs and pods every time, stored nowhere (design §2.1)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from batchai.api import names
from batchai.api.job import Job

HOLDING_STATES = frozenset({"running", "terminating"})
_OVERDUE = timedelta(seconds=60)
"""After the grace period of a pod that is deleted: what has not ended then may never do."""


def holders(jobs: Iterable[Job], pods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Node name → the name of the job that holds it.

    A job holds its nodes from the moment that its status names them, before it has pods; a pod holds its
    node until it has ended, even when its job is already gone.
    """
    held = {
        pod["metadata"]["annotations"][names.ANNOTATION_NODE]: pod["metadata"]["labels"][names.LABEL_JOB]
        for pod in pods
        if names.ANNOTATION_NODE in pod["metadata"].get("annotations", {}) and not ended(pod)
    }
    for job in jobs:
        if job.status.execution_state in HOLDING_STATES:
            held.update(dict.fromkeys(job.status.nodes or [], job.metadata.name))
    return held


def ended(pod: Mapping[str, Any]) -> bool:
    """No container of the pod runs any more."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def overdue_at(pod: Mapping[str, Any]) -> datetime | None:
    """When a pod that is deleted should have ended for long; None for one that nobody deletes."""
    end = pod["metadata"].get("deletionTimestamp")
    return datetime.fromisoformat(end) + _OVERDUE if end is not None else None
