"""Puts it together: what is seen goes to the stores and the queue, workers take keys to their reconcilers.

Everything is listed before the first worker starts: a reconciler that saw half of the jobs could give a node
away twice.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from batchai.api import names
from batchai.errors import BatchAIError, KubeApiError
from batchai.kube.client import EVENTS, KINDS, NAMESPACES, NODES, PODS, VOLUMES, KubeClient
from batchai.kube.informer import Informer, Selection, left_out
from batchai.kube.patience import insist
from batchai.kube.store import Object, ObjectStore, Store, slim, unlisted
from batchai.logs import about
from batchai.reconcile import group, routing
from batchai.reconcile.cluster import ClusterReconciler
from batchai.reconcile.context import Context, Key, Reconciler
from batchai.reconcile.events import Recorder
from batchai.reconcile.file_server import FileServerReconciler
from batchai.reconcile.job import JobReconciler
from batchai.reconcile.news import News, Observer, Outcome
from batchai.reconcile.queue import WorkQueue
from batchai.reconcile.slim import own_pod, slim_node, slim_volume
from batchai.reconcile.storage import volume_index
from batchai.schedule.ledger import ended
from batchai.settings import Settings

_log = logging.getLogger(__name__)


class Runtime:
    """The running operator, without its process."""

    def __init__(self, client: KubeClient, settings: Settings, observer: Observer) -> None:
        self._client = client
        self._settings = settings
        self._observer = observer
        self._objects = ObjectStore(KINDS)
        self._recorder = Recorder(client, instance=settings.identity, clock=_utc)
        self._news = News(self._recorder, observer)
        self._failures: dict[str, str] = {}
        self.queue: WorkQueue[Key] = WorkQueue(lambda: random.uniform(0.75, 1.25))  # noqa: S311 - jitter
        managed = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
        self._pods = Informer(client, Selection(PODS, managed, slim=own_pod), _pod_store(), self._pod_changed)
        self._nodes = Informer(client, Selection(NODES, slim=slim_node), Store(), self._node_changed)
        owners = Store({label: volume_index(label) for label in (names.LABEL_JOB, names.LABEL_SETUP)})
        selection = Selection(VOLUMES, managed, slim=slim_volume)
        self._volumes = Informer(client, selection, owners, self._volume_changed)
        mounts = "involvedObject.kind=Pod,reason=FailedMount"
        self._events = Informer(client, Selection(EVENTS, field_selector=mounts), Store(), self._mount_failed)
        self._informers = {"nodes": self._nodes, "pods": self._pods, "volumes": self._volumes, "events": self._events}
        self._tasks: list[asyncio.Task[None]] = []
        self._halted = False
        self.failed = False
        """Whether one of its tasks has ended by itself."""

    async def start(self, fail: Callable[[], None]) -> None:
        """Lists everything, then follows it and works, unless it was halted meanwhile.

        It waits for the API server if need be: another replica would have to wait, too.
        fail: called when a task has ended by itself; the others go on without it.
        """
        informers = self._informers
        versions = [await insist(informer.sync, f"listing {name}") for name, informer in informers.items()]
        reconcilers = await insist(self._reconcilers, "reading the namespace kube-system")
        await insist(self._relist, "listing our kinds")
        if self._halted:
            return
        self._tasks = [
            *(
                asyncio.create_task(informer.run(version), name=f"informer of {name}")
                for (name, informer), version in zip(informers.items(), versions, strict=True)
            ),
            *(
                asyncio.create_task(self._work(reconcilers), name=f"worker-{index}")
                for index in range(self._settings.workers)
            ),
            asyncio.create_task(self._resync(), name="resync"),
            asyncio.create_task(self._recorder.run(), name="events"),
        ]

        def ended(task: asyncio.Task[None]) -> None:
            if not self._halted:
                error = None if task.cancelled() else task.exception()
                _log.error("the task %s has ended", task.get_name(), exc_info=error)
                self.failed = True
                fail()

        for task in self._tasks:
            task.add_done_callback(ended)

    def halt(self) -> None:
        """From now on nothing is begun or written; a request that is on its way may still arrive."""
        self._halted = True
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Ends all tasks; what they were at is found again at the next start."""
        self.halt()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def seen(self, kind: str, event: str | None, item: dict[str, Any]) -> None:
        """An object of ours came, changed or went (`event` DELETED)."""
        before = self._objects.get(kind, item["metadata"]["namespace"], item["metadata"]["name"])
        if event == "DELETED":
            self._objects.remove(kind, item)
            self._add(routing.of_object(kind, item, None, self._objects))
        elif self._objects.put(kind, item):
            self._add(routing.of_object(kind, before, item, self._objects))

    def health(self) -> dict[str, float]:
        """Figures for probes: keys that wait, the age of the oldest in seconds, the informers' longest silence."""
        silence = max(self.silence().values())
        return {"queue": len(self.queue), "oldest": self.queue.oldest(), "silence": silence}

    @property
    def objects(self) -> ObjectStore:
        """What is known of our own kinds."""
        return self._objects

    @property
    def events_dropped(self) -> Mapping[str, int]:
        """Events that were not written, by cause."""
        return self._recorder.dropped

    def silence(self) -> dict[str, float]:
        """Seconds since the API server was heard last, for each resource that an informer follows."""
        return {name: informer.silence for name, informer in self._informers.items()}

    async def _reconcilers(self) -> dict[str, Reconciler]:
        system = await self._client.get(NAMESPACES, "kube-system")
        context = Context(
            api=self._client,
            objects=self._objects,
            pods=self._pods.store,
            nodes=self._nodes.store,
            volumes=self._volumes.store,
            mount_failures=self._failures,
            queue=self.queue,
            settings=self._settings,
            clock=_utc,
            subscription=system["metadata"]["uid"],
            written=self._news.status_written,
            created=self._news.pod_created,
        )
        return {
            "Workspace": group.WorkspaceReconciler(context),
            "Experiment": group.ExperimentReconciler(context),
            "FileServer": FileServerReconciler(context),
            "Cluster": ClusterReconciler(context),
            "Job": JobReconciler(context),
        }

    async def _work(self, reconcilers: dict[str, Reconciler]) -> None:
        while True:
            key = await self.queue.get()
            began = time.monotonic()
            item = self._objects.get(*key)
            with about(*key, attempt=item.get("status", {}).get("attempt") if item else None):
                outcome = await self._pass(reconcilers[key.kind], key)
            self.queue.done(key)
            self._observer.reconciled(key.kind, outcome, time.monotonic() - began)

    async def _pass(self, reconciler: Reconciler, key: Key) -> Outcome:
        """One pass and what follows from how it went; how it went."""
        outcome: Outcome
        try:
            again = await reconciler.reconcile(key)
        except KubeApiError as error:
            # 409: somebody was quicker; the newer object is on its way here.
            outcome, level = ("conflict", logging.DEBUG) if error.status == 409 else ("error", logging.WARNING)
            _log.log(level, "%s", error)
        except BatchAIError as error:
            outcome = "error"
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001 - a worker outlives every mistake in a reconciler
            outcome = "unexpected"
            _log.exception("unexpected")
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
            return "success"
        self.queue.retry(key)
        return outcome

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            try:
                await self._relist()
            except KubeApiError as error:
                _log.warning("resync: %s", error)

    async def _relist(self) -> None:
        """Lists our kinds, because kopf does not tell of deletions that a broken watch missed."""
        for kind, resource in KINDS.items():
            items, version = await self._client.list(resource, slim=slim)
            for gone in unlisted(self._objects.list(kind), items, version):
                with left_out(resource.plural, gone):
                    self.seen(kind, "DELETED", gone)
            for item in items:
                with left_out(resource.plural, item):
                    self.seen(kind, None, {**item, "kind": kind})
        self._add(routing.unfinished(self._objects, tuple(KINDS)))

    def _add(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(key)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        if after is None and before is not None:
            self._failures.pop(before["metadata"]["uid"], None)
        for key in routing.of_pod(before, after):
            # Jobs that wait for pods come before those whose pods tell how far they are.
            self.queue.add(key, background=key.kind == "Job" and _lives(before, after))

    def _node_changed(self, before: Object | None, after: Object | None) -> None:
        self._add(routing.of_node(before, after, self._objects))

    def _volume_changed(self, before: Object | None, after: Object | None) -> None:
        self._add(routing.of_volume(before, after))

    def _mount_failed(self, _before: Object | None, after: Object | None) -> None:
        """Keeps the message while the pod exists; the event's own end (an hour later) changes nothing."""
        if after is None:
            return
        involved = after["involvedObject"]
        pod = self._pods.store.get(involved.get("namespace", ""), involved.get("name", ""))
        if pod is None or pod["metadata"]["uid"] != involved.get("uid"):
            return
        self._failures[involved["uid"]] = after.get("message", "")
        self._add(routing.of_pod(pod, pod))


def _lives(before: Object | None, after: Object | None) -> bool:
    """The pod was there and still is, and neither ends nor is being deleted."""
    if before is None or after is None:
        return False
    return not ended(after) and "deletionTimestamp" not in after["metadata"]


def _utc() -> datetime:
    return datetime.now(UTC)


def _pod_store() -> Store:
    def by(*labels: str) -> Callable[[Object], str | None]:
        def value(pod: Object) -> str | None:
            metadata = pod["metadata"]
            found = next((metadata["labels"][label] for label in labels if label in metadata["labels"]), None)
            return None if found is None else f"{metadata['namespace']}/{found}"

        return value

    return Store(
        {
            "job": by(names.LABEL_JOB),
            "cluster": by(names.LABEL_CLUSTER),
            "file_server": by(names.LABEL_FILE_SERVER),
            "helpers": by(names.LABEL_SETUP, names.LABEL_PLACEHOLDER),
        }
    )
