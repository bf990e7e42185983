"""How the operator's process ends; that replicas take turns is shown on the real cluster."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest

from batchai.__main__ import _work
from batchai.errors import KubeApiError
from batchai.kube.client import EVENTS, PODS, Resource
from batchai.kube.lease import LeaseLost
from batchai.metrics import Metrics
from batchai.reconcile.context import Key
from batchai.reconcile.runtime import Runtime
from batchai.settings import Settings

SETTINGS = Settings("launcher", {}, "batchai-system", "me")
CLUSTER = Key("Cluster", "ns", "c")


class Empty:
    """A client of a cluster in which there is nothing.

    `lists` lets lists be answered, but for so many `refusals`; the watch of `broken` fails after a while.
    """

    def __init__(self) -> None:
        self.lists = asyncio.Event()
        self.lists.set()
        self.refusals = 0
        self.broken: Resource | None = None

    async def get(self, *_: object, **__: object) -> dict[str, Any]:
        return {"metadata": {"uid": "system"}}

    async def list(self, *_: object, **__: object) -> tuple[list[dict[str, Any]], str]:
        await self.lists.wait()
        self.refusals -= 1
        if self.refusals >= 0:
            raise KubeApiError(503, "ServiceUnavailable", "the API server starts")
        return [], "1"

    async def watch(self, resource: Resource, *_: object, **__: object) -> AsyncIterator[tuple[str, Any]]:
        if resource == self.broken:
            await asyncio.sleep(0.1)
            raise KeyError("type")
        await asyncio.Event().wait()
        yield "", None


class Writing:
    """A reconciler that writes all the time."""

    def __init__(self) -> None:
        self.writes = 0

    async def reconcile(self, _key: Key) -> float | None:
        while True:
            self.writes += 1
            await asyncio.sleep(0.01)


class Losable:
    """A Lease that is lost when somebody says so."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    async def keep(self) -> None:
        await self.lost.wait()
        raise LeaseLost("another replica holds the Lease")


class Kopf:
    """Takes its time to end, as kopf does with hung tasks."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.signal = asyncio.Event()
        self.ended = False

    async def operator(self, *, stop_flag: asyncio.Event, **_: object) -> None:
        self.started.set()
        stops = [asyncio.create_task(event.wait()) for event in (stop_flag, self.signal)]
        await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
        for stop in stops:
            stop.cancel()
        await asyncio.sleep(0.3)
        self.ended = True


class Process:
    """The process between its Lease and its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client, self.lease, self.kopf, self.writing = Empty(), Losable(), Kopf(), Writing()
        self.metrics = Metrics()
        self.runtime = Runtime(self.client, SETTINGS, self.metrics)  # type: ignore[arg-type]
        self.runtime.queue.add(CLUSTER)
        monkeypatch.setattr(kopf, "operator", self.kopf.operator)
        monkeypatch.setattr("batchai.reconcile.runtime.ClusterReconciler", lambda _: self.writing)

    def work(self) -> asyncio.Task[None]:
        return asyncio.create_task(_work(self.lease, self.runtime, self.metrics, SETTINGS))  # type: ignore[arg-type]


@pytest.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


async def test_nothing_is_written_once_the_lease_is_lost(process: Process) -> None:
    work = process.work()
    await process.kopf.started.wait()
    await asyncio.sleep(0.05)
    written = process.writing.writes
    assert written
    process.lease.lost.set()
    await asyncio.sleep(0.1)
    assert not process.kopf.ended
    assert process.writing.writes <= written + 1
    with pytest.raises(LeaseLost):
        await work


async def test_a_lease_that_is_lost_during_the_start_starts_nothing(process: Process) -> None:
    process.client.lists.clear()
    work = process.work()
    await asyncio.sleep(0.05)
    process.lease.lost.set()
    await asyncio.sleep(0.05)
    process.client.lists.set()
    with pytest.raises(LeaseLost):
        await work
    assert not process.writing.writes
    assert not process.kopf.started.is_set()


async def test_a_start_outlasts_refusals(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchai.kube.patience._PAUSE_SECONDS", 0.01)
    process.client.refusals = 7
    work = process.work()
    await process.kopf.started.wait()
    process.kopf.signal.set()
    await work
    assert process.writing.writes


async def test_a_start_that_is_refused_ends_with_the_lease(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchai.kube.patience._PAUSE_SECONDS", 0.01)
    process.client.refusals = 1_000_000
    work = process.work()
    await asyncio.sleep(0.1)
    process.lease.lost.set()
    with pytest.raises(LeaseLost):
        await work


@pytest.mark.parametrize("resource", [PODS, EVENTS])
async def test_the_death_of_a_task_ends_the_process_orderly(
    process: Process, resource: Resource, caplog: pytest.LogCaptureFixture
) -> None:
    process.client.broken = resource
    await process.work()
    assert process.kopf.ended
    assert process.runtime.failed
    assert f"the task informer of {resource.plural} has ended" in caplog.text
    assert "KeyError: 'type'" in caplog.text


async def test_the_orderly_end_is_no_failure(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    work = process.work()
    await process.kopf.started.wait()
    process.kopf.signal.set()
    await work
    assert process.kopf.ended
    assert not process.runtime.failed
    assert not caplog.records


async def test_a_mount_event_without_a_pod_is_no_ones(process: Process) -> None:
    process.runtime._mount_failed(None, {"involvedObject": {"kind": "Pod"}, "message": "no such share"})
    assert len(process.runtime.queue) == 1
