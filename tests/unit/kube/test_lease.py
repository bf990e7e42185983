"""When a replica is active; that two take turns is shown on the real cluster."""

import asyncio
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchai.errors import KubeApiError
from batchai.kube import lease as module
from batchai.kube.lease import Lease, LeaseLost

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """One Lease; `hangs` lets every request wait for ever, `away` so many of them fail."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.hangs = False
        self.away = 0

    async def get(self, *_: object, **__: object) -> dict[str, Any]:
        self.away -= 1
        if self.away >= 0:
            raise KubeApiError(0, "ConnectionLost", "connection refused")
        if self.hangs:
            await asyncio.sleep(60)
        if self.lease is None:
            raise KubeApiError(404, "NotFound", "")
        return deepcopy(self.lease)

    async def create(self, _resource: object, body: dict[str, Any], **_: object) -> None:
        self.lease = {**body, "metadata": {"resourceVersion": "1"}}

    async def patch(self, _resource: object, _name: str, body: dict[str, Any], **_: object) -> None:
        assert self.lease is not None
        self.lease["spec"] |= body["spec"]


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def lease(server: Server, holder: str, clock: Clock) -> Lease:
    return Lease(server, namespace="ns", name="l", holder=holder, clock=clock)  # type: ignore[arg-type]


async def test_clocks_of_two_machines_are_not_compared() -> None:
    """The other one's is an hour ahead: it must not take what is renewed, and must take what is not."""
    server, here, there = Server(), Clock(NOW), Clock(NOW + timedelta(hours=1))
    active, standby = lease(server, "a", here), lease(server, "b", there)
    assert await active._take()
    for _ in range(10):
        assert not await standby._take()
        for clock in (here, there):
            clock.now += timedelta(seconds=5)
        assert await active._take()
    assert not await standby._take()
    there.now += timedelta(seconds=9)
    assert not await standby._take()
    there.now += timedelta(seconds=1)
    assert await standby._take()


async def test_a_standby_outlasts_an_api_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchai.kube.patience._PAUSE_SECONDS", 0.01)
    server = Server()
    server.away = 3
    await lease(server, "a", Clock(NOW)).acquire()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == "a"


async def test_a_request_that_hangs_does_not_outlive_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DURATION", timedelta(seconds=0.8))
    monkeypatch.setattr(module, "_MARGIN", timedelta(seconds=0.2))
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.1)
    server = Server()
    active = Lease(
        server,  # type: ignore[arg-type]
        namespace="ns",
        name="l",
        holder="a",
        clock=lambda: datetime.now(UTC),
    )
    await active.acquire()
    server.hangs = True
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost):
        await active.keep()
    assert asyncio.get_running_loop().time() - began < 0.8
