"""`python -m tests.bench.passes` times a Cluster's passes without a cluster: the processor time alone.

10,000 Jobs on 1,000 nodes: 500 run on two nodes each, the others wait for one. The figures of `make bench` are not made
here.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from batchai.api import names
from batchai.kube.client import KINDS
from batchai.kube.store import Object, ObjectStore, Store
from batchai.reconcile.cluster import ClusterReconciler
from batchai.reconcile.context import Context, Key
from batchai.reconcile.queue import WorkQueue
from batchai.settings import Settings

_KEY = Key("Cluster", "ns", "big")
_STAMP = "2026-01-01T00:00:00Z"


class _Answers:
    """An API server that says yes at once; it knows what the store knows."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._version = 10
        self.writes = 0

    async def patch(self, resource: Any, name: str, body: Object, *, namespace: str = "", **_: Any) -> Object:
        kind = next(kind for kind, known in KINDS.items() if known == resource)
        raw = self._objects.get(kind, namespace, name)
        assert raw is not None
        self._version += 1
        self.writes += 1
        patched: Object = _merged(raw, body)
        return patched | {"metadata": patched["metadata"] | {"resourceVersion": str(self._version)}}

    async def exists_secret(self, _namespace: str, _name: str) -> bool:
        return True


class Scene:
    """A Cluster with its jobs and nodes as the operator knows them; `running` jobs of two nodes each take all nodes."""

    def __init__(self, *, jobs: int, running: int) -> None:
        objects, nodes, queue = ObjectStore(KINDS), Store(), WorkQueue[Key](lambda: 1.0)
        objects.put("Workspace", _object("Workspace", "w", {}))
        objects.put("Experiment", _object("Experiment", "e", {"workspace": "w"}))
        spec = {
            "workspace": "w",
            "vmSize": "Standard_NC6",
            "scaleSettings": {"manual": {"targetNodeCount": 2 * running}},
        }
        objects.put("Cluster", _object("Cluster", _KEY.name, spec))
        for index in range(2 * running):
            nodes.put(_node(index))
        for index in range(jobs):
            objects.put("Job", _job(index, runs=index < running))
        self.api = _Answers(objects)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.objects = objects
        context = Context(
            api=self.api,  # type: ignore[arg-type]
            objects=objects,
            pods=Store({"cluster": _of(names.LABEL_CLUSTER), "job": _of(names.LABEL_JOB), "helpers": lambda _: None}),
            nodes=nodes,
            volumes=Store({names.LABEL_SETUP: lambda _: None, names.LABEL_JOB: lambda _: None}),
            mount_failures={},
            queue=queue,
            settings=Settings("launcher", {"*": "image"}, "batchai-system", "me"),
            clock=lambda: self.now,
            subscription="s",
        )
        self.context = context
        self._reconciler = ClusterReconciler(context)

    async def look(self) -> float | None:
        """One pass, a minute later; when it wants to look again."""
        self.now += timedelta(minutes=1)
        return await self._reconciler.reconcile(_KEY)

    def scale(self, **settings: Any) -> None:
        """Gives the cluster other scaleSettings."""
        raw = self.cluster()
        version = {"resourceVersion": str(int(raw["metadata"]["resourceVersion"]) + 1), "generation": 2}
        spec = raw["spec"] | {"scaleSettings": settings}
        self.objects.put("Cluster", raw | {"metadata": raw["metadata"] | version, "spec": spec})

    def cluster(self) -> Object:
        """The cluster as it is now."""
        raw = self.objects.get("Cluster", _KEY.namespace, _KEY.name)
        assert raw is not None
        return raw

    def submit(self, index: int, priority: str) -> None:
        """A job of one node comes."""
        self.objects.put("Job", _job(index, runs=False, priority=priority))

    def job(self, index: int) -> Object:
        """A job as it is now."""
        raw = self.objects.get("Job", _KEY.namespace, f"job-{index:05}")
        assert raw is not None
        return raw

    def end(self, index: int) -> None:
        """A running job succeeds."""
        raw = self.job(index)
        version = {"resourceVersion": str(int(raw["metadata"]["resourceVersion"]) + 1)}
        state = {"executionState": "succeeded"}
        self.objects.put("Job", raw | {"metadata": raw["metadata"] | version, "status": raw["status"] | state})


async def main() -> None:
    """Prints the milliseconds of each kind of pass, and how many writes it made."""
    jobs = 10_000
    scene = Scene(jobs=jobs, running=500)
    await _timed("the first look, which reads all jobs and nodes", scene, 1)
    await _timed("new jobs are told their place", scene, jobs // 256)
    await _timed("nothing has changed", scene, 10)
    await _timed("a job has ended, the next ones start", scene, 10, scene.end)


async def _timed(what: str, scene: Scene, times: int, before: Callable[[int], None] = lambda _: None) -> None:
    found, writes = [], scene.api.writes
    for index in range(times):
        before(index)
        since = time.process_time()
        await scene.look()
        found.append(1000 * (time.process_time() - since))
    mean = (scene.api.writes - writes) / times
    print(f"{what}: {statistics.median(found):.1f} ms, {mean:.0f} writes")


def _object(kind: str, name: str, spec: Object, status: Object | None = None) -> Object:
    owner = {"apiVersion": names.API_VERSION, "kind": "Experiment", "name": "e", "uid": "Experiment-e"}
    parent = {"Job": owner, "Cluster": owner | {"kind": "Workspace", "name": "w", "uid": "Workspace-w"}}
    reference = parent.get(kind, {}) | {"controller": True, "blockOwnerDeletion": True}
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": _KEY.namespace,
            "uid": f"{kind}-{name}",
            "resourceVersion": "2",
            "generation": 1,
            "creationTimestamp": _STAMP,
            "labels": {names.LABEL_NAME: name, names.LABEL_WORKSPACE: "w", names.LABEL_EXPERIMENT: "e"},
            "ownerReferences": [reference] if kind in parent else [],
        },
        "spec": spec,
        "status": status or {},
    }


def _job(index: int, *, runs: bool, priority: str = "normal") -> Object:
    share = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "logs"}
    spec = {
        "experiment": "e",
        "cluster": _KEY.name,
        "nodeCount": 2 if runs else 1,
        "schedulingPriority": priority,
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "mountVolumes": {"azureFileShares": [share]},
        "containerSettings": {"imageSourceRegistry": {"image": "image"}},
        "customToolkitSettings": {"commandLine": "python train.py"},
    }
    held = [f"node-{2 * index:04}", f"node-{2 * index + 1:04}"]
    status = {
        "executionState": "running" if runs else "queued",
        "executionStateTransitionTime": _STAMP,
        "provisioningState": "succeeded",
        "provisioningStateTransitionTime": _STAMP,
        "jobOutputDirectoryPathSegment": f"s/ns/workspaces/w/experiments/e/jobs/job-{index:05}/uid",
        "toolType": "custom",
        "executionInfo": {"startTime": _STAMP} if runs else {},
        "attempt": 1 if runs else 0,
        "nodes": held if runs else [],
        "attempts": [{"number": 1, "nodes": held, "startTime": _STAMP}] if runs else [],
        "observedGeneration": 1,
    }
    return _object("Job", f"job-{index:05}", spec, status)


def _node(index: int) -> Object:
    resources = {names.GPU_RESOURCE: "1"}
    return {
        "metadata": {
            "name": f"node-{index:04}",
            "uid": f"node-{index:04}",
            "resourceVersion": "2",
            "labels": {
                names.INSTANCE_TYPE_LABEL: "Standard_NC6",
                names.LABEL_CLUSTER: _KEY.name,
                names.LABEL_CLUSTER_NAMESPACE: _KEY.namespace,
            },
            "annotations": {},
        },
        "spec": {"unschedulable": False, "taints": [{"key": names.TAINT_CLUSTER, "effect": "NoSchedule"}]},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "nodeInfo": {"bootID": "b"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _of(label: str) -> Callable[[Object], str]:
    return lambda pod: f"{pod['metadata']['namespace']}/{pod['metadata']['labels'][label]}"


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return patch
    base = target if isinstance(target, Mapping) else {}
    changed = {name: _merged(base.get(name), value) for name, value in patch.items() if value is not None}
    return {**{name: value for name, value in base.items() if name not in patch}, **changed}


if __name__ == "__main__":
    asyncio.run(main())
