"""An operator outside of the cluster that is killed right after a write of choice, and started again.

It is the product, with its Deployment's environment and its ServiceAccount's rights. Only its way to the API
server is the test's: a proxy that knows when a write was committed and whether its answer was passed on.
"""

import asyncio
import base64
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web
from tests.e2e.jobs import OPERATOR, Cluster
from yarl import URL

ROOT = Path(__file__).parents[2]
NAME = "batchai-operator"
"""Of the Deployment, the ServiceAccount and the Lease."""
_REQUEST_HEADERS = ("Accept", "Authorization", "Content-Type", "User-Agent")
_ANSWER_HEADERS = ("Content-Type", "Retry-After")
_ASIDE = ("/leases", "/events")
"""Paths of writes that belong to no job's life, or only tell of it."""


class Fault(Enum):
    """What happens around a write of the operator."""

    KILLED_BEFORE_ANSWER = "killed after the commit, before the answer"
    KILLED_AFTER_ANSWER = "killed after the answer"
    ANSWER_LOST = "alive, but the answer was lost"


class Plan(NamedTuple):
    """A fault at a write, `METHOD path`, when it is done for the nth time."""

    write: str
    nth: int
    fault: Fault


class Process:
    """`python -m batchai` on this machine."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running = self._start()

    def crash(self) -> None:
        """Kills it and starts it again under the same name, as a kubelet does."""
        self._running.kill()
        self._running.wait()
        self._running = self._start()

    def stop(self) -> None:
        """Asks it to end and waits until it did."""
        self._running.terminate()
        self._running.wait(timeout=30)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "batchai"], env=self._environment)


class Proxy:
    """Stands between an operator and the API server, counts the writes and does harm around one of them."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._plan: Plan | None = None
        self.process: Process | None = None
        self.writes: list[str] = []

    def expect(self, plan: Plan | None) -> None:
        """Counts from 0 again, for a plan or for knowing the writes only."""
        self.writes = []
        self._plan = plan

    @property
    def done(self) -> bool:
        """Whether the write was reached that a fault was planned for."""
        return self._plan is not None and self.writes.count(self._plan.write) >= self._plan.nth

    async def forward(self, request: web.BaseRequest) -> web.StreamResponse:
        """Passes a request on, and its answer back, watches piece by piece."""
        url = URL(self._server + request.raw_path, encoded=True)
        headers = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
        data = await request.read() or None
        async with self._session.request(request.method, url, headers=headers, data=data) as answer:
            headers = {name: answer.headers[name] for name in _ANSWER_HEADERS if name in answer.headers}
            if request.method == "GET":
                stream = web.StreamResponse(status=answer.status, headers=headers)
                with suppress(ConnectionResetError):  # the operator that asked is no more
                    await stream.prepare(request)
                    async for piece in answer.content.iter_any():
                        await stream.write(piece)
                    await stream.write_eof()
                return stream
            response = web.Response(status=answer.status, headers=headers, body=await answer.read())
        fault = self._count(request, answer.status)
        if fault is Fault.KILLED_AFTER_ANSWER:
            await response.prepare(request)
            await response.write_eof()
        if fault is Fault.ANSWER_LOST:
            assert request.transport is not None
            request.transport.abort()
        elif fault is not None:
            assert self.process is not None
            self.process.crash()
        return response

    def _count(self, request: web.BaseRequest, status: int) -> Fault | None:
        """Notes what was committed; the fault, if this is the write that it was planned for."""
        if status >= 300 or "dryRun" in request.query or any(path in request.path for path in _ASIDE):
            return None
        write = f"{request.method} {request.path}"
        self.writes.append(write)
        plan = self._plan
        return plan.fault if plan and (plan.write, plan.nth) == (write, self.writes.count(write)) else None


@asynccontextmanager
async def operator(cluster: Cluster, directory: Path) -> AsyncIterator[Proxy]:
    """The operator behind its proxy; the one in the cluster must be stopped. `directory` is for its kubeconfig."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    api = config["clusters"][0]["cluster"]
    authority = base64.b64decode(api["certificate-authority-data"]).decode()
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context(cadata=authority))
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        proxy = Proxy(api["server"], session)
        runner = web.ServerRunner(web.Server(proxy.forward, handler_cancellation=True), shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            _, port = runner.addresses[0]
            proxy.process = Process(_environment(cluster, directory, f"http://127.0.0.1:{port}"))
            try:
                yield proxy
            finally:
                await asyncio.to_thread(proxy.process.stop)  # not here: the proxy serves it to its end
        finally:
            await runner.cleanup()


def _environment(cluster: Cluster, directory: Path, server: str) -> dict[str, str]:
    """What the Deployment gives to its container, and the way to the API server."""
    container = cluster.get("deployment", NAME, OPERATOR)["spec"]["template"]["spec"]["containers"][0]
    settings = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    kubeconfig = directory / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(_kubeconfig(server, cluster.kubectl("create", "token", NAME, "-n", OPERATOR))))
    return settings | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(kubeconfig),
        "POD_NAMESPACE": OPERATOR,
        "POD_NAME": "local",
        "BATCHAI_HEALTH_PORT": str(_free_port()),
        "BATCHAI_METRICS_PORT": str(_free_port()),
    }


def _kubeconfig(server: str, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": NAME, "user": {"token": token.strip()}}],
        "contexts": [{"name": "test", "context": {"cluster": "proxy", "user": NAME}}],
        "current-context": "test",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
