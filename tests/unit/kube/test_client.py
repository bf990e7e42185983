"""What the client tells its observer when there is no answer; answers are exercised on the real cluster."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

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


async def test_a_silent_watch_ends_and_has_been_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of Events does, for which there are no bookmarks."""
    monkeypatch.setattr(module, "_WATCH_SILENCE_SECONDS", 0.2)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type": "ADDED", "object": {"metadata": {}}}\n')
        await asyncio.sleep(5)
        return response

    app = web.Application()
    app.router.add_get("/api/v1/events", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened = []
    async with aiohttp.ClientSession() as session:
        client = KubeClient(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
        seen = [kind async for kind, _ in client.watch(EVENTS, "1", opened=lambda: opened.append(True))]
    await runner.cleanup()
    assert (seen, opened) == (["ADDED"], [True])
