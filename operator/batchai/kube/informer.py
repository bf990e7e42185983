"""A slim informer: list, watch, and tell what changed, deletions that a broken watch missed included."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from batchai.errors import KubeApiError
from batchai.kube.client import KubeClient, Resource
from batchai.kube.store import Object, Store, identity, unlisted

_log = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0

Listener = Callable[[Object | None, Object | None], None]
"""Called with (before, after); None for an object that was not there, or is not any more."""


@dataclass(frozen=True)
class Selection:
    """What to watch, and what of each object to keep."""

    resource: Resource
    label_selector: str = ""
    field_selector: str = ""
    slim: Callable[[Object], Object | None] = lambda item: item


class Informer:
    """Keeps a Store in step with the API server."""

    def __init__(self, client: KubeClient, selection: Selection, store: Store, listener: Listener) -> None:
        self._client = client
        self._selection = selection
        self._listener = listener
        self._heard = time.monotonic()
        self._retry = _FIRST_RETRY_SECONDS
        self.store = store

    @property
    def silence(self) -> float:
        """Seconds since the API server was heard last."""
        return time.monotonic() - self._heard

    async def sync(self) -> str:
        """Lists once; the version to go on from. Objects that are known but not listed are gone."""
        selection = self._selection
        items, version = await self._client.list(
            selection.resource,
            label_selector=selection.label_selector,
            field_selector=selection.field_selector,
            slim=self._slim,
        )
        self._hear()
        for gone in unlisted(self.store.items(), items, version):
            self._removed(gone)
        for item in items:
            self._changed(item)
        return version

    def _hear(self) -> None:
        """The server answers. Not only a change says so: some watches bring none for days."""
        self._heard = time.monotonic()
        self._retry = _FIRST_RETRY_SECONDS

    async def run(self, version: str) -> None:
        """Follows from a version for ever; lists again when the server forgot it."""
        selection = self._selection
        while True:
            try:
                if not version:
                    version = await self.sync()
                async for kind, item in self._client.watch(
                    selection.resource,
                    version,
                    label_selector=selection.label_selector,
                    field_selector=selection.field_selector,
                    opened=self._hear,
                ):
                    self._hear()
                    version = item["metadata"]["resourceVersion"]
                    if kind == "DELETED":
                        self._removed(item)
                    elif kind != "BOOKMARK" and (kept := self._slim(item)) is not None:
                        self._changed(kept)
            except KubeApiError as error:
                _log.info("watch of %s ends: %s", selection.resource.plural, error)
                version = "" if error.gone else version
                await asyncio.sleep(self._retry * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                self._retry = min(self._retry * 2, _LONGEST_RETRY_SECONDS)

    def _slim(self, item: Object) -> Object | None:
        """What is kept of an object; if that fails what is known of it, because it is not gone."""
        with left_out(self._selection.resource.plural, item):
            return self._selection.slim(item)
        known = self.store.get(*identity(item))
        return known if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"] else None

    def _changed(self, item: Object) -> None:
        with left_out(self._selection.resource.plural, item):
            before = self.store.get(*identity(item))
            if self.store.put(item):
                self._listener(before, item)

    def _removed(self, item: Object) -> None:
        with left_out(self._selection.resource.plural, item):
            self.store.remove(item)
            self._listener(item, None)


@contextmanager
def left_out(plural: str, item: Object) -> Iterator[None]:
    """An object that nobody expected is logged and left out: it must not stop the work on all others."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whoever may label a pod decides what comes here
        _log.exception("left out of %s: %s", plural, "/".join(filter(None, identity(item))))
