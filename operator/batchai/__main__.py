"""The operator's process: settings, the Lease, then kopf until a signal or the loss of the Lease."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import kopf
from prometheus_client import disable_created_metrics

from batchai.errors import SpecError
from batchai.handlers import registry
from batchai.kube.client import KubeClient
from batchai.kube.lease import Lease, LeaseLost
from batchai.kube.session import connect
from batchai.logs import formatter
from batchai.metrics import Metrics, served
from batchai.reconcile.runtime import Runtime
from batchai.settings import Settings

_LEASE = "batchai-operator"

_log = logging.getLogger(__name__)


async def run(settings: Settings) -> int:
    """Runs until it is stopped (0), or loses the Lease or a part of it dies (1)."""
    stop = asyncio.Event()
    # A container's first process ignores signals without a handler. Kopf replaces these, and looks at `stop` first.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    connection = await connect()
    client = KubeClient(connection.session, connection.server, observe=metrics.requested)
    # With a client of its own: renewing may not stand in the line of other writes.
    lease = Lease(
        KubeClient(connection.session, connection.server, observe=metrics.requested),
        namespace=settings.namespace,
        name=_LEASE,
        holder=settings.identity,
        clock=_utc,
    )
    runtime = Runtime(client, settings, metrics)
    try:
        async with served(metrics.registry, settings.metrics_port):
            if await _finished(lease.acquire(), stop):
                await _work(lease, runtime, metrics, settings, stop)
            await lease.release()
    except LeaseLost as error:
        _log.error("ending: %s", error)
        return 1
    finally:
        await connection.session.close()
    return 1 if runtime.failed else 0


async def _work(lease: Lease, runtime: Runtime, metrics: Metrics, settings: Settings, stop: asyncio.Event) -> None:
    """Works while the Lease is ours, until a signal, `stop` or the death of a task. Raises LeaseLost."""
    keeping = asyncio.create_task(lease.keep())

    def lost(_: asyncio.Task[None]) -> None:
        # At once: another replica may soon hand out the same nodes, and kopf takes seconds to end.
        runtime.halt()
        stop.set()

    keeping.add_done_callback(lost)
    try:
        if await _finished(runtime.start(stop.set), stop):
            metrics.follow(runtime, _utc)
            await kopf.operator(
                registry=registry(runtime),
                clusterwide=True,
                standalone=True,
                liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
                stop_flag=stop,
            )
    finally:
        await runtime.stop()
        keeping.cancel()
    if keeping.done() and not keeping.cancelled():
        keeping.result()


async def _finished(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether the work was finished before it was to stop; else it is cancelled. Raises what the work does."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopping):
        task.cancel()
    await asyncio.wait((working, stopping))
    if not working.cancelled():
        working.result()
    return not stop.is_set()


def _utc() -> datetime:
    return datetime.now(UTC)


def main() -> int:
    """The container's command."""
    settings = Settings.from_environment()
    handler = logging.StreamHandler(sys.stderr)
    try:
        handler.setFormatter(formatter(settings.log_format))
    except SpecError as error:
        sys.exit(str(error))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return asyncio.run(run(settings))


if __name__ == "__main__":
    raise SystemExit(main())
