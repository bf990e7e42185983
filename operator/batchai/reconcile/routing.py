"""Which keys an observation concerns. Pure but for the store that it looks into."""

from collections.abc import Iterator, Mapping
from typing import Any

from batchai.api import names
from batchai.api.job import TERMINAL_STATES
from batchai.kube.store import Object, ObjectStore
from batchai.reconcile.context import Key
from batchai.schedule.ledger import ended


def of_object(kind: str, item: Mapping[str, Any], objects: ObjectStore) -> Iterator[Key]:
    """The object itself, the queue that a job stands in, and what waits for a parent."""
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    yield Key(kind, namespace, name)
    if kind == "Job":
        yield Key("Cluster", namespace, item["spec"]["cluster"])
    elif kind == "Workspace":
        for child in ("Cluster", "Experiment", "FileServer"):
            yield from _children(objects, child, namespace, "workspace", name)
    elif kind in {"Experiment", "Cluster"}:
        yield from _children(objects, "Job", namespace, kind.lower(), name)


def of_pod(before: Object | None, after: Object | None) -> Iterator[Key]:
    """The pod's job, and its cluster when the pod gives its node back; the cluster alone of a pod that is no job's."""
    pod = after or before
    if pod is None:
        return
    metadata = pod["metadata"]
    namespace, labels = metadata["namespace"], metadata["labels"]
    for label in (names.LABEL_SETUP, names.LABEL_PLACEHOLDER):
        if label in labels:
            yield Key("Cluster", namespace, labels[label])
    if names.LABEL_JOB in labels:
        yield Key("Job", namespace, labels[names.LABEL_JOB])
        if after is None or (ended(after) and not (before and ended(before))):
            yield Key("Cluster", namespace, labels[names.LABEL_CLUSTER])


def of_node(before: Object | None, after: Object | None, objects: ObjectStore) -> Iterator[Key]:
    """The Cluster that owns or owned the node, even one that is gone, and all that could want it."""
    if before is not None and after is not None and _without_version(before) == _without_version(after):
        return
    for node in (before, after):
        labels = node["metadata"].get("labels", {}) if node else {}
        if names.LABEL_CLUSTER in labels:
            yield Key("Cluster", labels.get(names.LABEL_CLUSTER_NAMESPACE, ""), labels[names.LABEL_CLUSTER])
    for cluster in objects.list("Cluster"):
        yield Key("Cluster", cluster["metadata"]["namespace"], cluster["metadata"]["name"])


def unfinished(objects: ObjectStore, kinds: tuple[str, ...]) -> Iterator[Key]:
    """Everything that is not a finished job."""
    for kind in kinds:
        for item in objects.list(kind):
            if item.get("status", {}).get("executionState") not in TERMINAL_STATES:
                yield Key(kind, item["metadata"]["namespace"], item["metadata"]["name"])


def _children(objects: ObjectStore, kind: str, namespace: str, field: str, name: str) -> Iterator[Key]:
    for item in objects.list(kind, namespace):
        if item["spec"].get(field) == name:
            yield Key(kind, namespace, item["metadata"]["name"])


def _without_version(node: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in node["metadata"].items() if key != "resourceVersion"}
    return {**node, "metadata": metadata}
