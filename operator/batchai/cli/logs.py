"""Following the logs of a job's pods at once: every line once and whole, whatever happens to connections.

It knows nothing of terminals: `Reader`s put lines into a queue, and somebody takes them out.
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Queue

from batchai.cli import kube
from batchai.cli.kube import Kube
from batchai.errors import BatchAIError, KubeApiError
from batchai.plan.node_pod import JOB_CONTAINER

OUTAGE_SECONDS = 60
"""How long the API may be out of reach before a reader gives up."""
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True)
class Line:
    """A line of a pod's log, without its line feed."""

    pod: str
    text: bytes


@dataclass(frozen=True)
class End:
    """A pod's log has ended; `error` if it could not be read to its end."""

    pod: str
    error: BatchAIError | None = None


@dataclass
class Reader:
    """Reads one pod's log to its end, in a thread of its own."""

    kube: Kube
    namespace: str
    pod: str
    lines: "Queue[Line | End]"
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _last: bytes = b""
    _at_last: int = 0
    """How many lines of the time `_last` there were."""
    _remark: bytes = b""
    """The last line that had no time."""

    def start(self) -> None:
        """Starts the thread, which ends with an `End`."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        problem: BatchAIError | None = BatchAIError(f"the log of pod {self.pod} could not be read")
        try:
            self.read()
            problem = None
        except BatchAIError as error:
            problem = error
        finally:
            self.lines.put(End(self.pod, problem))

    def read(self) -> None:
        """Reads until the container has ended. Its state is asked for before each reading, so the last one is whole."""
        answered = self.clock()
        while True:
            try:
                ended = self._has_ended()
                self._read_once()
                if ended:
                    return
                answered = self.clock()
            except KubeApiError as error:
                if error.not_found:
                    return  # the pod is gone, and its log with it
                if error.status in (401, 403) or self.clock() - answered >= OUTAGE_SECONDS:
                    raise
            self.sleep(1)

    def _has_ended(self) -> bool:
        pod = self.kube.get(kube.PODS, self.namespace, self.pod)
        return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")

    def _read_once(self) -> None:
        # A reading begins with a whole second, part of which was read before.
        before, known = self._last, self._at_last
        since = f"{before[:19].decode()}Z" if before else None
        for line in self.kube.log(self.namespace, self.pod, JOB_CONTAINER, since):
            stamp, _, text = line.partition(b" ")
            if not _STAMP.fullmatch(stamp):
                # The kubelet's own words about the log, which each reading may bring again.
                if line != self._remark:
                    self._remark = line
                    self.lines.put(Line(self.pod, line))
                continue
            moment = _sortable(stamp)
            if moment < before:
                continue
            if moment == before and known:
                known -= 1
                continue
            self._at_last = self._at_last + 1 if moment == self._last else 1
            self._last = moment
            self.lines.put(Line(self.pod, text))


def _sortable(stamp: bytes) -> bytes:
    """A log's time with all nine digits of its fraction, in UTC, so that times compare as bytes."""
    seconds, _, fraction = stamp.removesuffix(b"Z").partition(b".")
    return b"%s.%s" % (seconds, fraction.ljust(9, b"0"))
