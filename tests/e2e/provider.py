"""A provider of nodes beside the real ones: what cluster-autoscaler and a cloud do, in small.

It knows no Cluster of ours: it sees pods that the scheduler found no node for, and nodes that nobody uses. KWOK plays
its nodes and what runs on them (tests/bench/kwok.yaml).
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.bench.world import MARK, kwok

from batchai.api import names
from batchai.errors import KubeApiError
from batchai.kube.client import LEASES, NODES, PODS, KubeClient, Resource
from batchai.kube.session import connect

VM_SIZE = "Standard_NC6_provided"
TOLERATIONS = [{"key": MARK, "operator": "Exists"}]
"""What a Cluster needs to use these nodes: their taint keeps everything else off."""
_PROVIDED = "batchai.dev/provided"
_KEPT = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
_POLL_SECONDS = 0.3
_LEASES = "kube-node-lease"


@dataclass
class Provider:
    """The provider's settings, which tests change while it works, and the names of the nodes that it made.

    delay: seconds that a node takes to come; limit: its quota of nodes; idle: after how many seconds it takes a node
    back that nothing runs on and nobody keeps; patience: after how many one that is not ready; failing: whether the
    nodes that it makes never get ready.
    """

    delay: float = 0.5
    limit: int = 3
    idle: float = 1.0
    patience: float = 6.0
    failing: bool = False
    made: list[str] = field(default_factory=list)
    _due: list[float] = field(default_factory=list)
    _since: dict[tuple[str, str], float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def work(self, api: KubeClient, now: float) -> None:
        """One look at pods and nodes, and what follows from it."""
        nodes, _ = await api.list(NODES, label_selector=_PROVIDED)
        pods, _ = await api.list(PODS, label_selector=f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
        asking = sum(map(_asks, pods))
        coming = len(self._due) + sum(not _kept(node) for node in nodes)
        room = self.limit - len(self._due) - len(nodes)
        self._due += [now + self.delay] * max(0, min(asking - coming, room))
        for due in [due for due in self._due if due <= now]:
            self._due.remove(due)
            await self._make(api)
        busy = {pod["spec"].get("nodeName") for pod in pods if pod["status"].get("phase") in {"Pending", "Running"}}
        for node in nodes:
            name, unused = node["metadata"]["name"], asking == 0 and not _kept(node)
            idle = self._lasts(name, "idle", now, lasts=unused and name not in busy)
            broken = self._lasts(name, "broken", now, lasts=not _ready(node))
            if idle > self.idle or broken > self.patience:
                await _remove(api, NODES, name)

    def _lasts(self, node: str, what: str, now: float, *, lasts: bool) -> float:
        """For how many seconds this has been so."""
        if not lasts:
            self._since.pop((node, what), None)
            return 0.0
        return now - self._since.setdefault((node, what), now)

    async def _make(self, api: KubeClient) -> None:
        name = f"provided-{next(self._numbers)}"
        labels = {_PROVIDED: "true", names.INSTANCE_TYPE_LABEL: VM_SIZE, "kubernetes.io/hostname": name}
        if not self.failing:
            labels[MARK] = "true"  # KWOK makes it ready.
        taint = {"key": MARK, "effect": "NoSchedule"}
        node = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}}
        await api.create(NODES, {"apiVersion": "v1", "kind": "Node", **node})
        self.made.append(name)


@contextmanager
def provider() -> Iterator[Provider]:
    """One at work; nothing of it is left afterwards. What ended it early is raised then."""
    working, ends = Provider(), threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            asyncio.run(_serve(working, ends))
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's thread
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield working
    finally:
        ends.set()
        thread.join()
    for failure in failures:
        raise failure


async def _serve(working: Provider, ends: threading.Event) -> None:
    connection = await connect()
    api = KubeClient(connection.session, connection.server)
    try:
        async with kwok():
            await _clean(api)  # what a killed run left
            while not ends.is_set():
                await working.work(api, asyncio.get_running_loop().time())
                await asyncio.sleep(_POLL_SECONDS)
            await _clean(api)
    finally:
        await connection.session.close()


async def _clean(api: KubeClient) -> None:
    for node in (await api.list(NODES, label_selector=_PROVIDED))[0]:
        await _remove(api, NODES, node["metadata"]["name"])
    for lease in (await api.list(LEASES))[0]:
        if lease["metadata"]["name"].startswith("provided-"):
            await _remove(api, LEASES, lease["metadata"]["name"], _LEASES)


async def _remove(api: KubeClient, resource: Resource, name: str, namespace: str = "") -> None:
    try:
        await api.delete(resource, name, namespace=namespace)
    except KubeApiError as error:
        if not error.not_found:
            raise


def _asks(pod: dict[str, Any]) -> bool:
    """The scheduler found no node for the pod, and one of this provider's would do."""
    unschedulable = any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in pod["status"].get("conditions", [])
    )
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    rules = [rule for term in terms for rule in term.get("matchExpressions", [])]
    wanted = any(rule["key"] == names.INSTANCE_TYPE_LABEL and VM_SIZE in rule["values"] for rule in rules)
    return unschedulable and wanted and "nodeName" not in pod["spec"]


def _kept(node: dict[str, Any]) -> bool:
    return node["metadata"].get("annotations", {}).get(_KEPT) == "true"


def _ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
