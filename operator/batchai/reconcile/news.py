"""What is told of the work: log lines and Kubernetes Events for people, figures for an observer."""

import logging
from datetime import datetime
from typing import Literal, Protocol

from batchai.api import names
from batchai.api.base import Model
from batchai.kube.store import Object
from batchai.logs import about
from batchai.reconcile.events import Recorder
from batchai.status.events import first_start, notice

_log = logging.getLogger(__name__)

Failure = Literal["conflict", "error", "unexpected"]
"""conflict: the object had changed meanwhile; unexpected: a mistake of the operator's own."""
Outcome = Literal["success"] | Failure


class Observer(Protocol):
    """Told of the work; it neither fails nor waits."""

    def reconciled(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """A pass over an object ended."""

    def job_started(self, stage: str, seconds: float) -> None:
        """So long after it was made, all pods or all containers of a job's first attempt were there."""


class News:
    """Passes on what is worth telling. It neither fails nor waits."""

    def __init__(self, recorder: Recorder, observer: Observer) -> None:
        self._recorder = recorder
        self._observer = observer

    def status_written(self, item: Object, before: Model, after: Model) -> None:
        """The status of an object was written."""
        metadata = item["metadata"]
        if (found := notice(item, before, after)) is not None:
            with about(item["kind"], metadata["namespace"], metadata["name"], getattr(after, "attempt", None)):
                _log.info("%s: %s", found.reason, found.note)
            self._recorder.record(item, found)
        if (started := first_start(before, after)) is not None:
            self._observer.job_started("containers", _seconds(metadata["creationTimestamp"], started))

    def pod_created(self, pod: Object, job: Object) -> None:
        """A pod of a job came; the last one of a job has the highest index."""
        labels = pod["metadata"]["labels"]
        if labels[names.LABEL_ATTEMPT] == "1" and int(labels[names.LABEL_INDEX]) == job["spec"]["nodeCount"] - 1:
            created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
            self._observer.job_started("pods", _seconds(job["metadata"]["creationTimestamp"], created))


def _seconds(since: str, until: datetime) -> float:
    return max(0.0, (until - datetime.fromisoformat(since)).total_seconds())
