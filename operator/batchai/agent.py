"""The node health agent's process: looks at its node's GPUs again and again, and keeps the node's condition and taint.

It writes only when the verdict changes, and forgets nothing in a restart: what it knows is on the node.
"""

import asyncio
import logging
import signal
import sys
import time
from datetime import UTC, datetime, timedelta

from aiohttp import web

from batchai.errors import KubeApiError
from batchai.gpu.findings import examine, occupied
from batchai.gpu.node import expected_gpus, standing, status_patch, taint_patch, uses_gpus
from batchai.gpu.probe import GpuProbe, NvmlProbe
from batchai.gpu.snapshot import Snapshot
from batchai.gpu.verdict import Streaks, Verdict, settle
from batchai.kube.client import NODES, PODS, KubeClient
from batchai.kube.session import connect
from batchai.kube.store import Object
from batchai.settings import AgentSettings

_HEALTH_PORT = 8080
_SILENCE_SECONDS = 300.0
_RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Agent:
    """Looks after one node."""

    def __init__(self, client: KubeClient, probe: GpuProbe, node: str) -> None:
        self._client = client
        self._probe = probe
        self._node = node
        self._streaks: Streaks = {}
        self._said: Verdict | None = None
        self._alive = time.monotonic()

    async def watch(self, interval: float) -> None:
        """A probe every `interval` seconds, for ever."""
        while True:
            snapshot = await self._probe.read()
            await self._report(snapshot)
            await asyncio.sleep(interval)

    def silence(self) -> float:
        """Seconds since it last got something done."""
        return time.monotonic() - self._alive

    async def _report(self, snapshot: Snapshot) -> None:
        """Judges a snapshot and writes the verdict, as often as it takes: an XID is not told a second time."""
        while True:
            self._alive = time.monotonic()
            try:
                await self._judge(snapshot)
            except KubeApiError as error:
                _log.warning("the node was not written, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _judge(self, snapshot: Snapshot) -> None:
        node = await self._client.get(NODES, self._node)
        in_use = any(occupied(gpu) for gpu in snapshot.gpus) and await self._in_use()
        found = examine(snapshot, expected=expected_gpus(node), in_use=in_use)
        verdict, streaks = settle(standing(node), found, self._streaks, booted=_boot_time())
        if verdict is not None:
            await self._write(node, verdict)
        self._streaks = streaks

    async def _in_use(self) -> bool:
        # A list that is a little behind will do: leftovers must be found by several probes in a row.
        pods, _ = await self._client.list(PODS, field_selector=f"spec.nodeName={self._node}", cached=True)
        return any(uses_gpus(pod) for pod in pods)

    async def _write(self, node: Object, verdict: Verdict) -> None:
        """The condition first: it remembers. Each patch names the version of the node that was decided on."""
        status = status_patch(node, verdict, datetime.now(UTC))
        if status:
            node = await self._patch(node, status, "status")
        taint = taint_patch(node, verdict)
        if taint:
            await self._patch(node, taint)
        if verdict != self._said:
            level = logging.WARNING if verdict.status == "False" else logging.INFO
            _log.log(level, "GpuHealthy is %s: %s: %s", verdict.status, verdict.reason, verdict.message)
            self._said = verdict

    async def _patch(self, node: Object, body: Object, subresource: str | None = None) -> Object:
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        return await self._client.patch(NODES, self._node, {"metadata": version, **body}, subresource=subresource)


async def run(settings: AgentSettings) -> None:
    """Runs until a signal."""
    connection = await connect()
    probe = NvmlProbe(settings.deadline_seconds)
    agent = Agent(KubeClient(connection.session, connection.server), probe, settings.node)
    health = await _serve_health(agent)
    watching = asyncio.create_task(agent.watch(settings.probe_seconds))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
    try:
        await asyncio.wait([watching])
        if not watching.cancelled():
            watching.result()
    finally:
        await health.cleanup()
        await probe.close()
        await connection.session.close()


async def _serve_health(agent: Agent) -> web.AppRunner:
    """/healthz for the kubelet: whether the agent works, whatever it found."""

    async def healthz(_request: web.Request) -> web.Response:
        silence = agent.silence()
        return web.Response(text=f"{silence:.0f} s\n", status=200 if silence < _SILENCE_SECONDS else 503)

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=_HEALTH_PORT).start()
    return runner


def _boot_time() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))


def main() -> int:
    """The container's command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    asyncio.run(run(AgentSettings.from_environment()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
