"""What the client asks, and what it makes of no answer; answers are exercised on the real cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from batchai.errors import KubeApiError
from batchai.kube import client as module
from batchai.kube.client import EVENTS, JOBS, PODS, KubeClient


class Unreachable:
    """A session to a server that is not there."""

    async def request(self, *_: object, **__: object) -> Any:
        raise aiohttp.ClientConnectionError("refused")


async def test_a_request_without_an_answer_is_told_with_status_0() -> None:
    told: list[tuple[str, str, int]] = []
    client = KubeClient(
        Unreachable(),  # type: ignore[arg-type]
        "https://server",
        observe=lambda verb, resource, status, _seconds: told.append((verb, resource, status)),
    )
    with pytest.raises(KubeApiError, match="GET /api/v1/namespaces/ns/pods/p: refused"):
        await client.get(PODS, "p", namespace="ns")
    with pytest.raises(KubeApiError, match="refused"):
        await client.patch(JOBS, "j", {}, namespace="ns", subresource="status")
    with pytest.raises(KubeApiError, match="watch of pods: refused"):
        await anext(client.watch(PODS, "1"))
    assert told == [("get", "pods", 0), ("patch", "jobs/status", 0), ("watch", "pods", 0)]


@asynccontextmanager
async def served(path: str, answer: Handler) -> AsyncIterator[KubeClient]:
    """A client of a server that answers one path."""
    app = web.Application()
    app.router.add_get(path, answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield KubeClient(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


async def test_a_silent_watch_ends_and_has_been_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of Events does, for which there are no bookmarks."""
    monkeypatch.setattr(module, "_WATCH_SILENCE_SECONDS", 0.2)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "ADDED", "object": {"metadata": {}}}\n')
        await asyncio.sleep(5)
        return response

    opened = []
    async with served("/api/v1/events", answer) as client:
        seen = [kind async for kind, _ in client.watch(EVENTS, "1", opened=lambda: opened.append(True))]
    assert (seen, opened) == (["ADDED"], [True])


@pytest.mark.parametrize("cached", [True, False])
async def test_a_list_from_memory_names_a_version_but_on_later_pages(*, cached: bool) -> None:
    asked: list[tuple[str | None, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        token = request.query.get("continue")
        asked.append((request.query.get("resourceVersion"), token))
        metadata = {"resourceVersion": "7"} if token else {"resourceVersion": "7", "continue": "more"}
        return web.json_response({"metadata": metadata, "items": [{}]})

    async with served("/api/v1/pods", answer) as client:
        assert await client.list(PODS, field_selector="spec.nodeName=n", cached=cached) == ([{}, {}], "7")
    assert asked == [("0" if cached else None, None), (None, "more")]
