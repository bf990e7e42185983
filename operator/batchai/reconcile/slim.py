"""What is kept of pods, nodes and volumes: little enough for thousands, and nothing that changes at each heartbeat."""

from batchai.api import names
from batchai.kube.store import Object

_POD_LABELS = (names.LABEL_JOB_UID, names.LABEL_CLUSTER, names.LABEL_ATTEMPT, names.LABEL_INDEX)
_NODE_METADATA = ("name", "uid", "resourceVersion", "labels", "deletionTimestamp")
_NODE_ANNOTATIONS = (names.ANNOTATION_PREPARED,)


def slim_pod(pod: Object) -> Object:
    """A pod without its spec, but for the node that it runs on."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "managedFields"}
    node = pod.get("spec", {}).get("nodeName")
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": pod.get("status", {})}


def own_pod(pod: Object) -> Object | None:
    """The same of a pod that the operator made; None for one that says to be a job's, but not of which attempt.

    Whoever may create pods can label them.
    """
    labels = pod["metadata"].get("labels", {})
    known = all(labels.get(label) for label in _POD_LABELS) and labels[names.LABEL_INDEX].isdecimal()
    return slim_pod(pod) if known or names.LABEL_JOB not in labels else None


def slim_node(node: Object) -> Object:
    """A node with its GPUs, taints and conditions, without the times of these."""
    metadata, spec, status = node["metadata"], node.get("spec", {}), node.get("status", {})
    kept = {key: metadata[key] for key in _NODE_METADATA if key in metadata}
    annotations = metadata.get("annotations", {})
    return {
        "metadata": {**kept, "annotations": {key: annotations[key] for key in _NODE_ANNOTATIONS if key in annotations}},
        "spec": {"unschedulable": spec.get("unschedulable", False), "taints": spec.get("taints", [])},
        "status": {
            **{
                kind: {name: value for name, value in status.get(kind, {}).items() if name == names.GPU_RESOURCE}
                for kind in ("allocatable", "capacity")
            },
            "nodeInfo": {"bootID": status.get("nodeInfo", {}).get("bootID", "")},
            "conditions": [_condition(condition) for condition in status.get("conditions", [])],
        },
    }


def slim_volume(volume: Object) -> Object:
    """A PersistentVolume with nothing but the claim that it is for."""
    metadata = {key: value for key, value in volume["metadata"].items() if key != "managedFields"}
    return {"metadata": metadata, "spec": {"claimRef": claim_of(volume)}}


def claim_of(volume: Object) -> Object:
    """The reference to the claim that a PersistentVolume is for; empty if somebody took it away."""
    claim: Object = volume["spec"].get("claimRef", {})
    return claim


def _condition(condition: Object) -> Object:
    """Kubernetes' own conditions change their messages for no reason of ours."""
    kept = ("type", "status", "reason", "message") if condition["type"].startswith(names.GROUP) else ("type", "status")
    return {key: condition[key] for key in kept if key in condition}
