"""How the operator's process ends; that replicas take turns is shown on the real cluster."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

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
        self.stop = asyncio.Event()
        self.metrics = Metrics()
        self.runtime = Runtime(self.client, SETTINGS, self.metrics)  # type: ignore[arg-type]
        self.runtime.queue.add(CLUSTER)
        monkeypatch.setattr(kopf, "operator", self.kopf.operator)
        monkeypatch.setattr("batchai.reconcile.runtime.ClusterReconciler", lambda _: self.writing)

    def work(self) -> asyncio.Task[None]:
        return asyncio.create_task(
            _work(self.lease, self.runtime, self.metrics, SETTINGS, self.stop)  # type: ignore[arg-type]
        )


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


class Leases:
    """A server that knows a Lease, and nothing else yet."""

    def __init__(self, lease: dict[str, Any] | None) -> None:
        self.lease = lease
        self.asked = asyncio.Event()
        self.app = web.Application()
        path = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
        self.app.router.add_get(f"{path}/batchai-operator", self.get)
        self.app.router.add_post(path, self.create)
        self.app.router.add_patch(f"{path}/batchai-operator", self.patch)
        self.app.router.add_get("/{rest:.*}", self.refuse)

    @property
    def holder(self) -> str:
        return str((self.lease or {"spec": {}})["spec"].get("holderIdentity"))

    async def get(self, _: web.Request) -> web.Response:
        if self.holder == "other":
            self.asked.set()
        return web.json_response(self.lease or {"reason": "NotFound"}, status=200 if self.lease else 404)

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.lease = body | {"metadata": {"resourceVersion": "1"}}
        return web.json_response(self.lease)

    async def patch(self, request: web.Request) -> web.Response:
        assert self.lease is not None
        self.lease["spec"] |= (await request.json())["spec"]
        return web.json_response(self.lease)

    async def refuse(self, _: web.Request) -> web.Response:
        self.asked.set()
        return web.json_response({"reason": "ServiceUnavailable"}, status=503)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def lease_of(holder: str) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "renewTime": "2026-05-04T03:02:01.000000Z"}
    return {"metadata": {"resourceVersion": "1"}, "spec": spec}


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [(lease_of("other"), "other", signal.SIGTERM), (None, "", signal.SIGTERM), (None, "", signal.SIGINT)],
    ids=["standby", "start", "start-interrupted"],
)
async def test_a_replica_that_does_not_work_yet_obeys_signals(
    before: dict[str, Any] | None, after: str, number: signal.Signals, tmp_path: Path
) -> None:
    server = Leases(before)
    runner = web.AppRunner(server.app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}
    users = [{"name": "u", "user": {}}]
    config = {"current-context": "c", "contexts": [context], "clusters": [cluster], "users": users}
    (tmp_path / "config").write_text(json.dumps(config))
    environment = {name: text for name, text in os.environ.items() if not name.startswith("KUBERNETES_")} | {
        "KUBECONFIG": str(tmp_path / "config"),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "BATCHAI_LAUNCHER_IMAGE": "launcher",
        "BATCHAI_DEFAULT_IMAGE": "base",
        "BATCHAI_DEFAULT_IMAGE_CNTK": "cntk",
        "BATCHAI_METRICS_PORT": str(free_port()),
        "POD_NAMESPACE": "ns",
        "POD_NAME": "me",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "batchai", env=environment)
    try:
        await server.asked.wait()
        process.send_signal(number)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
        assert server.holder == after
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await runner.cleanup()


async def test_a_process_that_is_to_stop_during_its_start_starts_nothing(process: Process) -> None:
    process.client.lists.clear()
    work = process.work()
    await asyncio.sleep(0.05)
    process.stop.set()
    await work
    assert not process.kopf.started.is_set()
    assert not process.runtime.failed
