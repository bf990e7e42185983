"""What a row of the bench needs around it: KWOK's nodes, a namespace, the operator off and on. All of it goes again."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from batchai.api import names
from batchai.errors import KubeApiError
from batchai.kube.client import CLUSTERS, EXPERIMENTS, LEASES, NODES, PODS, SECRETS, WORKSPACES, KubeClient
from batchai.kube.session import Connection, connect

NAMESPACE = "batchai-bench"
CLUSTER = "bench"
MARK = "batchai.dev/bench"
"""Label and taint of the bench's nodes: nothing else of the cluster comes onto them."""
VM_SIZE = "Standard_NC6_bench"
ACCOUNT = "bench"
OPERATOR = "batchai-system"
_DEPLOYMENT = "deployment/batchai-operator"
_NODE_LEASES = "kube-node-lease"
_AT_ONCE = 64
_LONG = aiohttp.ClientTimeout(total=300)
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The bench cannot be run here, or something did not happen in time."""


async def kubectl(*arguments: str, data: Any = None) -> str:
    """The output of kubectl; raises BenchError with what it says if it fails."""
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error = await process.communicate(json.dumps(data).encode() if data is not None else None)
    if process.returncode:
        raise BenchError(f"kubectl {' '.join(arguments)}: {error.decode().strip()}")
    return output.decode()


async def until(condition: Any, what: str, seconds: float, every: float = 0.02) -> None:
    """Waits until a function says yes; it may be a coroutine function."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        answer = condition()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        if loop.time() > deadline:
            raise BenchError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(every)


@dataclass(frozen=True)
class ProcessFigures:
    """The operator's process: resident MiB, and seconds of processor time since its start."""

    resident: float
    cpu: float


class World:
    """The test cluster as the bench sees it."""

    def __init__(self, connection: Connection) -> None:
        self.api = KubeClient(connection.session, connection.server, writes_in_flight=_AT_ONCE)
        self._server = connection.server
        self._session = connection.session

    # --- the operator -----------------------------------------------------------------------------------------

    async def stop_operator(self) -> None:
        """No replica runs then."""
        await kubectl("scale", _DEPLOYMENT, "-n", OPERATOR, "--replicas=0")
        await until(self._no_operator, "the operator is gone", 60)

    async def start_operator(self) -> None:
        """One replica is ready then."""
        await kubectl("scale", _DEPLOYMENT, "-n", OPERATOR, "--replicas=1")
        await kubectl("rollout", "status", _DEPLOYMENT, "-n", OPERATOR, "--timeout=120s")

    async def operator(self) -> ProcessFigures:
        """What the kernel says of the operator's process."""
        command = ("exec", "-n", OPERATOR, _DEPLOYMENT, "--", "cat", "/proc/1/status", "/proc/1/stat")
        text = await kubectl(*command)
        resident = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
        times = text.rpartition(")")[2].split()
        if resident is None:
            raise BenchError("the operator's process does not tell its memory")
        return ProcessFigures(int(resident[1]) / 1024, (int(times[11]) + int(times[12])) / _TICKS)

    async def operator_pod(self) -> dict[str, Any]:
        """The operator's only pod."""
        found = json.loads(await kubectl("get", "pods", "-n", OPERATOR, "-o", "json"))["items"]
        if len(found) != 1:
            raise BenchError(f"the operator has {len(found)} pods")
        pod: dict[str, Any] = found[0]
        return pod

    async def _no_operator(self) -> bool:
        return not (await kubectl("get", "pods", "-n", OPERATOR, "-o", "name")).strip()

    # --- nodes and the namespace ------------------------------------------------------------------------------

    async def make_nodes(self, count: int) -> list[str]:
        """Nodes that KWOK plays, ready and with a GPU; their names."""
        wanted = [f"bench-{index:04}" for index in range(count)]
        await self.each(self.api.create(NODES, _node(name, index)) for index, name in enumerate(wanted))

        async def ready() -> bool:
            nodes, _ = await self.api.list(NODES, label_selector=MARK)
            return sum(map(_usable, nodes)) == count

        # The node controller takes its taint from about ten nodes a second.
        await until(ready, f"{count} nodes are ready", 300, every=0.5)
        return wanted

    async def make_namespace(self) -> None:
        """An empty namespace with the storage account's Secret."""
        await kubectl("create", "namespace", NAMESPACE)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"batchai-storage-{ACCOUNT}"}}
        await self.api.create(SECRETS, secret, namespace=NAMESPACE)

    async def make_cluster(self, nodes: int) -> None:
        """A Cluster that owns all the nodes, with its Workspace and an Experiment; the operator must run."""
        scale = {"manual": {"targetNodeCount": nodes}}
        tolerations = [{"key": MARK, "operator": "Exists"}]
        cluster = {"workspace": "work", "vmSize": VM_SIZE, "scaleSettings": scale, "tolerations": tolerations}
        await self.api.create(WORKSPACES, resource("Workspace", "work", {}), namespace=NAMESPACE)
        await self.api.create(EXPERIMENTS, resource("Experiment", "exp", {"workspace": "work"}), namespace=NAMESPACE)
        await self.api.create(CLUSTERS, resource("Cluster", CLUSTER, cluster), namespace=NAMESPACE)

        async def complete() -> bool:
            status = (await self.api.get(CLUSTERS, CLUSTER, namespace=NAMESPACE)).get("status", {})
            return status.get("nodeStateCounts", {}).get("idleNodeCount") == nodes

        await until(complete, f"the Cluster has {nodes} idle nodes", 180, every=0.2)

    async def empty_namespace(self) -> None:
        """No Job and no pod is left in the namespace, nor the namespace itself."""
        if not await self._exists(f"/api/v1/namespaces/{NAMESPACE}"):
            return
        jobs = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/jobs"
        await self._remove_all(jobs, 600)
        pods, _ = await self.api.list(PODS, label_selector=f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
        held = [pod for pod in pods if pod["metadata"]["namespace"] == NAMESPACE and pod["metadata"].get("finalizers")]
        await self.each(
            self.api.patch(PODS, pod["metadata"]["name"], {"metadata": {"finalizers": None}}, namespace=NAMESPACE)
            for pod in held
        )
        await self._remove_all(f"/api/v1/namespaces/{NAMESPACE}/pods", 120, "?gracePeriodSeconds=0")
        await kubectl("delete", "namespace", NAMESPACE, "--timeout=300s")

    async def clean(self) -> None:
        """Removes everything that this or an earlier run made; the operator runs then."""
        await self.empty_namespace()
        await kubectl("delete", "--raw", f"/api/v1/nodes?labelSelector={MARK}")
        leases, _ = await self.api.list(LEASES)
        mine = [lease["metadata"] for lease in leases if lease["metadata"]["name"].startswith("bench-")]
        await self.each(
            self.api.delete(LEASES, lease["name"], namespace=_NODE_LEASES)
            for lease in mine
            if lease["namespace"] == _NODE_LEASES
        )
        await self.start_operator()

    async def each(self, requests: Iterable[Any]) -> None:
        """Awaits many requests, a bounded number at once; what is gone already is fine."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(request: Any) -> None:
            async with limit:
                try:
                    await request
                except KubeApiError as error:
                    if not error.not_found:
                        raise

        await asyncio.gather(*(one(request) for request in requests))

    async def _exists(self, path: str) -> bool:
        async with self._session.get(self._server + path) as response:
            return response.status == 200

    async def _remove_all(self, path: str, seconds: float, query: str = "") -> None:
        """Deletes a collection; a large one takes several requests."""

        async def empty() -> bool:
            async with self._session.delete(self._server + path + query, timeout=_LONG):
                pass
            async with self._session.get(self._server + path, params={"limit": "1"}) as response:
                return not (await response.json())["items"]

        await until(empty, f"{path} is empty", seconds)

    # --- what else is read ------------------------------------------------------------------------------------

    async def size(self, path: str) -> int:
        """How long a text is that the API server passes on, by asking for one byte of it."""
        async with self._session.get(self._server + path, headers={"Range": "bytes=0-0"}) as response:
            if response.status in {206, 416}:
                return int(response.headers["Content-Range"].rpartition("/")[2])
            if response.status >= 400:
                raise BenchError(f"GET {path}: HTTP status {response.status}")
            return len(await response.read())

    async def read(self, path: str, start: int) -> bytes:
        """The same text from a byte on."""
        async with self._session.get(self._server + path, headers={"Range": f"bytes={start}-"}) as response:
            if response.status == 416:
                return b""
            if response.status >= 400:
                raise BenchError(f"GET {path}: HTTP status {response.status}")
            return await response.read() if response.status == 206 else (await response.read())[start:]

    async def patch_pod_status(self, name: str, status: dict[str, Any]) -> None:
        """Says in KWOK's place how a pod is."""
        await self.api.patch(PODS, name, {"status": status}, namespace=NAMESPACE, subresource="status")


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """The cluster that KUBECONFIG names, clean, with KWOK beside it."""
    connection = await connect()
    place = World(connection)
    try:
        await place.clean()
        async with kwok():
            try:
                yield place
            finally:
                try:
                    await place.clean()
                except BenchError as error:
                    # What went wrong before, if anything did, tells more.
                    print(f"left to the next run: {error}", file=sys.stderr)
    finally:
        await connection.session.close()


@asynccontextmanager
async def kwok() -> AsyncIterator[None]:
    """KWOK, which ends with this process however that ends."""
    log = Path(os.environ["BATCHAI_CACHE"]) / "kwok.log"
    configuration = Path(__file__).with_name("kwok.yaml")
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "kwok", "--config", str(configuration), stdout=output, stderr=output
        )
    try:
        await asyncio.sleep(1)
        if process.returncode is not None:
            raise BenchError(f"KWOK ended by itself: {log} tells why")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object of ours in the bench's namespace."""
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _node(name: str, index: int) -> dict[str, Any]:
    labels = {MARK: "true", names.INSTANCE_TYPE_LABEL: VM_SIZE}
    cidr = f"10.{244 + index // 256}.{index % 256}.0/24"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        # With addresses of its own, far from the real nodes': the controller that gives them out is as slow.
        "spec": {"taints": [{"key": MARK, "effect": "NoSchedule"}], "podCIDR": cidr, "podCIDRs": [cidr]},
    }


def _usable(node: dict[str, Any]) -> bool:
    """KWOK made it ready, and the node controller has taken its own taint away."""
    taints = [taint["key"] for taint in node["spec"].get("taints", [])]
    return names.GPU_RESOURCE in node["status"].get("allocatable", {}) and taints == [MARK]
