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
    """One Lease; `hangs` lets so many requests wait for ever, `away` so many fail, `conflicts` so many writes."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.hangs = 0
        self.away = 0
        self.conflicts = 0

    async def get(self, *_: object, **__: object) -> dict[str, Any]:
        self.away -= 1
        if self.away >= 0:
            raise KubeApiError(0, "ConnectionLost", "connection refused")
        self.hangs -= 1
        if self.hangs >= 0:
            await asyncio.sleep(60)
        if self.lease is None:
            raise KubeApiError(404, "NotFound", "")
        return deepcopy(self.lease)

    async def create(self, _resource: object, body: dict[str, Any], **_: object) -> None:
        self.lease = {**body, "metadata": {"resourceVersion": "1"}}

    async def patch(self, _resource: object, _name: str, body: dict[str, Any], **_: object) -> None:
        assert self.lease is not None
        self.conflicts -= 1
        if self.conflicts >= 0:
            raise KubeApiError(409, "Conflict", "the object has been modified")
        self.lease["spec"] |= body["spec"]


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return (self.now - NOW).total_seconds()


def lease(server: Server, holder: str, clock: Clock) -> Lease:
    return Lease(server, namespace="ns", name="l", holder=holder, clock=clock, now=clock.monotonic)  # type: ignore[arg-type]


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


async def test_an_answer_that_comes_late_gives_no_more_time() -> None:
    """Another replica may count from when the Lease was written, long before this one hears of it."""
    server, clock = Server(), Clock(NOW)
    create = server.create

    async def slow(*arguments: Any, **rest: Any) -> None:
        await create(*arguments, **rest)
        clock.now += timedelta(seconds=8)

    server.create = slow  # type: ignore[method-assign]
    active = lease(server, "a", clock)
    await active.acquire()
    with pytest.raises(LeaseLost):
        await active.keep()


async def test_a_renewal_that_is_seen_late_counts_from_then() -> None:
    server, clock = Server(), Clock(NOW)
    assert await lease(server, "a", clock)._take()
    get = server.get

    async def slow(*arguments: Any, **rest: Any) -> dict[str, Any]:
        clock.now += timedelta(seconds=9)
        return await get(*arguments, **rest)

    server.get = slow  # type: ignore[method-assign]
    standby = lease(server, "b", clock)
    assert not await standby._take()
    server.get = get  # type: ignore[method-assign]
    clock.now += timedelta(seconds=2)
    assert not await standby._take()


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in less than a second."""
    monkeypatch.setattr(module, "_DURATION_SECONDS", 1.0)
    monkeypatch.setattr(module, "_MARGIN_SECONDS", 0.2)
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.2)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)


def utc() -> datetime:
    return datetime.now(UTC)


@pytest.mark.usefixtures("brisk")
async def test_requests_that_hang_do_not_outlive_the_lease() -> None:
    server = Server()
    active = Lease(server, namespace="ns", name="l", holder="a", clock=utc)  # type: ignore[arg-type]
    await active.acquire()
    server.hangs = 1000
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost, match="no answer"):
        await active.keep()
    assert asyncio.get_running_loop().time() - began < 1.0


@pytest.mark.parametrize("trouble", ["hangs", "away", "conflicts"])
@pytest.mark.usefixtures("brisk")
async def test_one_request_that_fails_does_not_cost_the_lease(trouble: str) -> None:
    server = Server()
    active = Lease(server, namespace="ns", name="l", holder="a", clock=utc)  # type: ignore[arg-type]
    await active.acquire()
    setattr(server, trouble, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await active.keep()
    assert getattr(server, trouble) < 0, "it has met the trouble"


@pytest.mark.usefixtures("brisk")
async def test_a_lease_that_another_replica_took_is_lost() -> None:
    server = Server()
    active = Lease(server, namespace="ns", name="l", holder="a", clock=utc)  # type: ignore[arg-type]
    await active.acquire()
    assert server.lease is not None
    server.lease["spec"]["holderIdentity"] = "b"
    with pytest.raises(LeaseLost, match="another replica holds"):
        await active.keep()
