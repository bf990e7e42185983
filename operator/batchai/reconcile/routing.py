"""Which keys an observation concerns. Pure but for the store that it looks into."""

from collections.abc import Iterator
from typing import Any

from batchai.api import names
from batchai.api.job import TERMINAL_STATES
from batchai.kube.store import Object, ObjectStore
from batchai.reconcile.context import Key
from batchai.reconcile.slim import claim_of
from batchai.schedule.ledger import ended

_CHILDREN = {
    "Workspace": (("Cluster", "workspace"), ("Experiment", "workspace"), ("FileServer", "workspace")),
    "Experiment": (("Job", "experiment"),),
    "Cluster": (("Job", "cluster"),),
}
"""Kind → the kinds that belong to it, and the field of their specs that names it."""


def of_object(kind: str, before: Object | None, after: Object | None, objects: ObjectStore) -> Iterator[Key]:
    """The object itself, the queue that a job stands in, and what waits for a parent.

    Only what looks different to them wakes the others: a status is written far more often than a parent comes, and a
    cluster looks at all of its jobs.
    """
    item = after or before
    if item is None:
        return
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    yield Key(kind, namespace, name)
    if kind == "Job":
        if _in_queue(before) != _in_queue(after):
            yield Key("Cluster", namespace, item["spec"]["cluster"])
    elif kind == "FileServer":
        # Nodes whose setup mounts it may wait for it.
        for cluster in objects.list("Cluster", namespace):
            yield Key("Cluster", namespace, cluster["metadata"]["name"])
    elif _as_parent(before) != _as_parent(after):
        for child, field in _CHILDREN.get(kind, ()):
            for found in objects.children(child, field, namespace, name):
                yield Key(child, namespace, found["metadata"]["name"])


def _in_queue(job: Object | None) -> tuple[Any, ...] | None:
    """What a Cluster's queue sees of a job: whether it takes part, and which attempt holds nodes."""
    if job is None:
        return None
    status = job.get("status", {})
    return (
        status.get("executionState"),
        status.get("attempt"),
        job["spec"].get("terminate", False),
        "deletionTimestamp" in job["metadata"],
    )


def _as_parent(item: Object | None) -> tuple[Any, ...] | None:
    """What children take from their parent: that it is there, the labels with its Azure names, and why it is not made.

    Of a Cluster that is made its queue tells the jobs.
    """
    if item is None:
        return None
    metadata, state = item["metadata"], item.get("status", {}).get("provisioningState")
    refused = None if state == "succeeded" else state
    return metadata["uid"], metadata.get("labels"), "deletionTimestamp" in metadata, refused


def of_pod(before: Object | None, after: Object | None) -> Iterator[Key]:
    """The pod's job, and its cluster when the pod gives its node back; or whose else it is."""
    pod = after or before
    if pod is None:
        return
    metadata = pod["metadata"]
    namespace, labels = metadata["namespace"], metadata["labels"]
    for label in (names.LABEL_SETUP, names.LABEL_PLACEHOLDER):
        if label in labels:
            yield Key("Cluster", namespace, labels[label])
    if names.LABEL_FILE_SERVER in labels:
        yield Key("FileServer", namespace, labels[names.LABEL_FILE_SERVER])
    if names.LABEL_JOB in labels:
        yield Key("Job", namespace, labels[names.LABEL_JOB])
        gives_back = after is None or (ended(after) and not (before and ended(before)))
        if gives_back and names.LABEL_CLUSTER in labels:
            yield Key("Cluster", namespace, labels[names.LABEL_CLUSTER])


def of_volume(before: Object | None, after: Object | None) -> Iterator[Key]:
    """Whoever a PersistentVolume was made for; it may be gone, and the volume a leftover."""
    for volume in (before, after):
        if volume is None or not (namespace := claim_of(volume).get("namespace")):
            continue
        labels = volume["metadata"].get("labels", {})
        for label, kind in ((names.LABEL_JOB, "Job"), (names.LABEL_SETUP, "Cluster")):
            if label in labels:
                yield Key(kind, namespace, labels[label])
        return


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


def _without_version(node: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in node["metadata"].items() if key != "resourceVersion"}
    return {**node, "metadata": metadata}
