"""Every kopf decorator of the operator. Handlers only pass on what they see (design: level, not edge)."""

from collections.abc import Mapping
from typing import Any

import kopf

from batchai.api import names
from batchai.kube.client import KINDS
from batchai.kube.session import connect
from batchai.reconcile.runtime import Runtime

_OLDEST_KEY_SECONDS = 300.0
_SILENCE_SECONDS = 300.0


class Unhealthy(Exception):  # noqa: N818 - what a probe answers
    """The operator lives but does not get its work done; a restart helps."""


class _NothingKept(kopf.DiffBaseStorage):
    """Our handlers compare nothing with an earlier state: kopf need not copy every object to remember one."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def registry(runtime: Runtime) -> kopf.OperatorRegistry:
    """The handlers around one runtime."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.AiohttpSession:
        connection = await connect()  # one of its own: kopf closes what it was given, while the Lease is still held
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.session)

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)

    @kopf.on.probe(registry=handlers, id="health", errors=kopf.ErrorsMode.PERMANENT)
    async def health(**_: Any) -> Mapping[str, float]:
        figures = runtime.health()
        if figures["oldest"] > _OLDEST_KEY_SECONDS or figures["silence"] > _SILENCE_SECONDS:
            raise Unhealthy(str(figures))
        return figures

    for kind, resource in KINDS.items():
        _follow(handlers, runtime, kind, resource.plural)
    return handlers


def _follow(handlers: kopf.OperatorRegistry, runtime: Runtime, kind: str, plural: str) -> None:
    @kopf.on.event(names.GROUP, names.VERSION, plural, registry=handlers, id=f"seen-{plural}")
    async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        runtime.seen(kind, type, {**body, "kind": kind})


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.persistence.finalizer = f"{names.GROUP}/kopf"
    settings.persistence.diffbase_storage = _NothingKept()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.2
