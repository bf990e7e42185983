"""Writes Kubernetes Events beside the work: few, bounded, never in its way; losing one loses nothing but the news.

An object gets one Event of a reason in REST_SECONDS; what comes meanwhile takes the place of what waits. The same
again within SERIES_SECONDS is counted in the Event that is there.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from batchai.api import names
from batchai.errors import KubeApiError
from batchai.kube.client import EVENT_SERIES, KubeApi
from batchai.kube.store import Object
from batchai.reconcile.queue import WorkQueue
from batchai.status.events import Notice

_log = logging.getLogger(__name__)

REST_SECONDS = 10.0
SERIES_SECONDS = 360.0
PER_SECOND = 10.0
WAITING = 600
"""Events that may wait; the oldest gives way."""
_REMEMBERED = 2000


class _Subject(NamedTuple):
    uid: str
    reason: str


@dataclass(frozen=True)
class _Waiting:
    item: Object
    notice: Notice
    at: datetime
    times: int


@dataclass(frozen=True)
class _Sent:
    name: str
    notice: Notice
    times: int
    at: float


class Recorder:
    """Takes notices at any time; `run` writes them. instance: this replica's name."""

    def __init__(self, api: KubeApi, *, instance: str, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._clock = clock
        self._queue: WorkQueue[_Subject] = WorkQueue(lambda: 1.0)
        self._waiting: dict[_Subject, _Waiting] = {}
        self._sent: dict[_Subject, _Sent] = {}
        self.dropped = Counter({"full": 0, "refused": 0, "failed": 0})

    def record(self, item: Object, notice: Notice) -> None:
        """Something is to be told of an object of ours."""
        subject = _Subject(item["metadata"]["uid"], notice.reason)
        before = self._waiting.pop(subject, None)
        times = before.times + 1 if before and before.notice == notice else 1
        self._waiting[subject] = _Waiting(item, notice, self._clock(), times)
        if len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.dropped["full"] += 1
        last = self._sent.get(subject)
        self._queue.add_after(subject, max(0.0, last.at + REST_SECONDS - _now()) if last else 0.0)

    async def run(self) -> None:
        """Writes for ever, PER_SECOND at most."""
        while True:
            subject = await self._queue.get()
            if (waiting := self._waiting.pop(subject, None)) is not None:
                await self._write(subject, waiting)
                await asyncio.sleep(1 / PER_SECOND)
            self._queue.done(subject)

    async def _write(self, subject: _Subject, waiting: _Waiting) -> None:
        last = self._sent.pop(subject, None)
        if last and (last.notice != waiting.notice or _now() - last.at > SERIES_SECONDS):
            last = None
        times = waiting.times + (last.times if last else 0)
        series = {"series": {"count": times, "lastObservedTime": _micro(waiting.at)}} if times > 1 else {}
        namespace = waiting.item["metadata"]["namespace"]
        try:
            if last is not None:
                await self._api.patch(EVENT_SERIES, last.name, series, namespace=namespace)
                name = last.name
            else:
                body = self._event(waiting) | series
                name = body["metadata"]["name"]
                await self._api.create(EVENT_SERIES, body, namespace=namespace)
        except KubeApiError as error:
            self.dropped["refused"] += 1
            _log.debug("an event was not written: %s", error)
            return
        except Exception:  # noqa: BLE001 - losing one loses nothing but the news
            self.dropped["failed"] += 1
            _log.exception("an event was not written")
            return
        self._sent[subject] = _Sent(name, waiting.notice, times, _now())
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def _event(self, waiting: _Waiting) -> dict[str, Any]:
        metadata, notice = waiting.item["metadata"], waiting.notice
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{int(waiting.at.timestamp() * 1e6):x}",
                "namespace": metadata["namespace"],
            },
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": waiting.item["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": "Warning" if notice.warning else "Normal",
            "reason": notice.reason,
            "note": notice.note,
            "action": "Reconciling",
            "eventTime": _micro(waiting.at),
            "reportingController": f"{names.GROUP}/operator",
            "reportingInstance": self._instance,
        }


def _now() -> float:
    return asyncio.get_running_loop().time()


def _micro(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
