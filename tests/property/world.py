"""A Kubernetes in memory: the API server as the operator sees it, and what kubelets and controllers do."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf
from typing import Any

from tests.bench.passes import _merged as merged

from batchai.api import names
from batchai.errors import KubeApiError
from batchai.kube.client import JOBS, NODES, PODS, SECRETS, SERVICES, Resource
from batchai.kube.store import Object, identity
from batchai.plan.node_pod import JOB_CONTAINER
from batchai.schedule.ledger import ended

_GRACE = timedelta(seconds=45)
"""Processes that are to end take all of it."""


class World:
    """All objects and the time.

    left: so many more writes of the operator are committed; the answer to the last one is `fault`, as is all that it
    asks for afterwards.
    """

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.left = inf
        self.fault: Callable[[], Exception] = KeyError
        self._objects: defaultdict[Resource, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._versions = count(1)

    # --- what anybody may do --------------------------------------------------------------------------------------

    def all(self, resource: Resource) -> list[Object]:
        """The objects of a resource."""
        return list(self._objects[resource].values())

    def find(self, resource: Resource, name: str, namespace: str = "ns") -> Object:
        """An object. Raises KubeApiError if there is none."""
        found = self._objects[resource].get((namespace if resource.namespaced else "", name))
        if found is None:
            raise KubeApiError(404, "NotFound", f"{resource.plural} '{name}' not found")
        return found

    def add(self, resource: Resource, body: Any) -> Object:
        """Creates an object. Raises KubeApiError if there is one of its name."""
        name, namespace = body["metadata"]["name"], body["metadata"].get("namespace", "")
        if (namespace, name) in self._objects[resource]:
            raise KubeApiError(409, "AlreadyExists", f"{resource.plural} '{name}' already exists")
        number = next(self._versions)
        given = {"uid": f"{number:08}", "generation": 1, "creationTimestamp": self.time()}
        item = {"spec": {}, "status": {}, **body, "metadata": {**body["metadata"], **given}}
        return self._put(resource, item)

    def change(self, resource: Resource, item: Object, patch: Any) -> Object:
        """Applies a merge patch to an object as it is now; one that waited for its last finalizer goes."""
        metadata = item["metadata"]
        known = self.find(resource, metadata["name"], metadata.get("namespace", ""))
        changed = merged(known, patch)
        if changed["spec"] != known["spec"]:
            changed["metadata"] = {**changed["metadata"], "generation": known["metadata"]["generation"] + 1}
        self._put(resource, changed)
        if resource == PODS:
            self._remove_if_over(changed)
        return changed

    def remove(self, resource: Resource, item: Object) -> None:
        """The object goes at once."""
        del self._objects[resource][identity(item)]

    def stop(self, pod: Object) -> None:
        """Somebody deletes a pod: its kubelet has its processes end, in their time."""
        if "deletionTimestamp" not in pod["metadata"]:
            over = {"deletionTimestamp": self.time(_GRACE), "deletionGracePeriodSeconds": _GRACE.seconds}
            self.change(PODS, pod, {"metadata": over})

    # --- what Kubernetes does -------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Kubelets start and stop pods; controllers delete those whose job or node is gone or does not answer."""
        uids = {job["metadata"]["uid"] for job in self.all(JOBS)}
        for resource in (PODS, SERVICES, SECRETS):
            for item in self.all(resource):
                if item["metadata"]["ownerReferences"][0]["uid"] not in uids:
                    self.stop(item) if resource == PODS else self.remove(resource, item)
        nodes = {node["metadata"]["name"]: is_ready(node) for node in self.all(NODES)}
        for pod in self.all(PODS):
            if nodes.get(node_of(pod)):
                self._run(pod)
            elif node_of(pod) in nodes or ended(pod):
                self.stop(pod)
            else:
                lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
                self.stop(self.change(PODS, pod, {"status": {"phase": "Failed", "conditions": [lost]}}))

    def end(self, pod: Object, code: int) -> None:
        """The pod's processes end by themselves."""
        terminated = {"exitCode": code, "finishedAt": self.time()}
        self._set(pod, "Failed" if code else "Succeeded", {"terminated": terminated})

    def _run(self, pod: Object) -> None:
        if ended(pod):
            return
        if (until := pod["metadata"].get("deletionTimestamp")) is not None:
            if until <= self.time():
                self.end(pod, 143)
        elif pod["status"].get("phase") != "Running":
            self._set(pod, "Running", {"running": {"startedAt": self.time()}})

    def _set(self, pod: Object, phase: str, state: Object) -> None:
        containers = [{"name": JOB_CONTAINER, "image": "image", "state": state}]
        status = {"phase": phase, "containerStatuses": containers}
        self.change(PODS, pod, {"spec": {"nodeName": node_of(pod)}, "status": status})

    def _remove_if_over(self, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"] and ended(pod) and not pod["metadata"].get("finalizers"):
            self.remove(PODS, pod)

    # --- what the operator asks for: batchai.kube.client.KubeApi --------------------------------------------------

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        self._listen()
        return self.find(resource, name, namespace)

    async def create(self, resource: Resource, body: Any, *, namespace: str = "", dry_run: bool = False) -> Object:
        self._listen()
        return self._answer(self.add(resource, {**body, "metadata": {**body["metadata"], "namespace": namespace}}))

    async def patch(
        self, resource: Resource, name: str, body: Any, *, namespace: str = "", subresource: str | None = None
    ) -> Object:
        self._listen()
        known = self.find(resource, name, namespace)
        for field in ("resourceVersion", "uid"):
            if body.get("metadata", {}).get(field, known["metadata"][field]) != known["metadata"][field]:
                raise KubeApiError(409, "Conflict", f"{resource.plural} '{name}' has changed")
        written = {"status"} if subresource == "status" else {"metadata", "spec"}
        return self._answer(self.change(resource, known, {part: body[part] for part in written & body.keys()}))

    async def delete(self, resource: Resource, name: str, *, namespace: str = "", uid: str | None = None) -> None:
        self._listen()
        known = self.find(resource, name, namespace)
        if uid not in {None, known["metadata"]["uid"]}:
            raise KubeApiError(409, "Conflict", f"{resource.plural} '{name}' is another one")
        self.stop(known)
        self._answer(known)

    async def exists_secret(self, namespace: str, name: str) -> bool:
        return True

    def _listen(self) -> None:
        if self.left <= 0:
            raise self.fault()

    def _answer(self, item: Object) -> Object:
        self.left -= 1
        self._listen()
        return item

    def _put(self, resource: Resource, item: Object) -> Object:
        item["metadata"] = {**item["metadata"], "resourceVersion": str(next(self._versions))}
        self._objects[resource][identity(item)] = item
        return item

    def time(self, later: timedelta = timedelta(0)) -> str:
        return (self.now + later).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_ready(node: Object) -> bool:
    """The node's kubelet answers."""
    return bool(node["status"]["conditions"][0]["status"] == "True")


def node_of(pod: Object) -> str:
    """The node that a job's pod is for."""
    node: str = pod["metadata"]["annotations"][names.ANNOTATION_NODE]
    return node
