"""What is told of the work: log lines and Kubernetes Events."""

import logging

from batchai.api.base import Model
from batchai.kube.store import Object
from batchai.logs import about
from batchai.reconcile.events import Recorder
from batchai.status.events import notice

_log = logging.getLogger(__name__)


class News:
    """Passes on what is worth telling. It neither fails nor waits."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def status_written(self, item: Object, before: Model, after: Model) -> None:
        """The status of an object was written."""
        if (found := notice(before, after)) is None:
            return
        metadata = item["metadata"]
        with about(item["kind"], metadata["namespace"], metadata["name"], getattr(after, "attempt", None)):
            _log.info("%s: %s", found.reason, found.note)
        self._recorder.record(item, found)
