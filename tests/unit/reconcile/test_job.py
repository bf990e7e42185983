"""What a Job's pass does to its pods."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.bench.passes import Scene

from batchai.api import names
from batchai.kube.client import PODS
from batchai.kube.store import Store
from batchai.reconcile.context import Key
from batchai.reconcile.job import JobReconciler


class Api:
    """An API server that notes which pods are deleted and which lose their finalizer."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._api = scene, scene.api
        self.deleted: list[str] = []
        self.released: list[str] = []

    async def delete(self, _resource: Any, name: str, **_: Any) -> None:
        self.deleted.append(name)

    async def patch(self, resource: Any, name: str, body: Any, *, namespace: str, **more: Any) -> Any:
        if resource != PODS:
            return await self._api.patch(resource, name, body, namespace=namespace, **more)
        self.released.append(name)
        return self._scene.context.pods.get(namespace, name)


def pod(scene: Scene, index: int, phase: str, state: dict[str, Any]) -> dict[str, Any]:
    """A pod of the first job's attempt."""
    return {
        "metadata": {
            "name": f"pod-{index}",
            "namespace": "ns",
            "uid": f"uid-{index}",
            "resourceVersion": "3",
            "finalizers": [names.FINALIZER_RESULT],
            "labels": {
                names.LABEL_JOB: "job-00000",
                names.LABEL_CLUSTER: "big",
                names.LABEL_JOB_UID: scene.job(0)["metadata"]["uid"],
                names.LABEL_ATTEMPT: "1",
                names.LABEL_INDEX: str(index),
            },
        },
        "spec": {"nodeName": f"node-{index:04}"},
        "status": {"phase": phase, "containerStatuses": [{"name": "job", "state": state}]},
    }


async def test_a_failed_job_stops_its_other_node_before_it_gives_up_results() -> None:
    scene = Scene(jobs=1, running=1)
    api = Api(scene)
    volumes = Store({names.LABEL_JOB: lambda _: None})
    reconciler = JobReconciler(replace(scene.context, api=api, volumes=volumes))  # type: ignore[arg-type]
    failed = {"terminated": {"exitCode": 1, "finishedAt": scene.now.isoformat()}}
    scene.context.pods.put(pod(scene, 0, "Failed", failed))
    scene.context.pods.put(pod(scene, 1, "Running", {"running": {}}))
    scene.now += timedelta(seconds=10)
    assert await reconciler.reconcile(Key("Job", "ns", "job-00000")) == 60
    assert (scene.job(0)["status"]["executionState"], api.deleted, api.released) == ("running", ["pod-1"], [])
    scene.now += timedelta(seconds=60)
    await reconciler.reconcile(Key("Job", "ns", "job-00000"))
    assert (scene.job(0)["status"]["executionState"], api.released) == ("failed", ["pod-0", "pod-1"])
