"""Placeholder pods: a pending one for each node that a cluster lacks, so that an autoscaler provides it; or one
CapacityBuffer, by which an autoscaler imagines them.

A node that comes is claimed and needs its placeholder no more: what is claimed is kept by annotations of the node
(KEPT), which the autoscalers honour, not by a pod.
"""

import re
from collections.abc import Iterator
from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster, ClusterSpec
from batchai.plan.naming import buffer_name, placeholder_name
from batchai.plan.node_pod import scheduled, user_tolerations
from batchai.plan.ownership import owner
from batchai.schedule.nodes import SPOT_LABELS, has_gpus

PRIORITY_CLASS = "batchai-placeholder"
"""Of value -10: the lowest that cluster-autoscaler still provides nodes for."""
KEPT = {
    "cluster-autoscaler.kubernetes.io/scale-down-disabled": "true",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Annotations of a node that autoscalers do not take away."""

_SIZE = re.compile(r"(?i)standard_([a-z]+[0-9]+(?:-[0-9]+)?)([a-z]*)((?:_[a-z0-9]+)*)")


def placeholder(cluster: Cluster, index: int, image: str) -> dict[str, Any]:
    """A pod that fits on a node of the cluster's kind that no Cluster owns; one of them fits on a node."""
    metadata, spec = cluster.metadata, cluster.spec
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_PLACEHOLDER: metadata.name}
    # How many GPUs a node to come has, nobody knows here: one is enough to ask for a node that has them.
    devices = {names.GPU_RESOURCE: "1"} if has_gpus(spec.vm_size) else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": placeholder_name(metadata.name, metadata.uid, index),
            "namespace": metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner(cluster)],
        },
        "spec": {
            **scheduled(spec),
            "priorityClassName": PRIORITY_CLASS,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": user_tolerations(spec),
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(_terms(spec))}
                },
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
                    ]
                },
            },
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65535,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "placeholder",
                    "image": image,
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": devices},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def buffer(cluster: Cluster, count: int) -> dict[str, Any]:
    """A CapacityBuffer of `count` pods of `buffer_template` (autoscaling.x-k8s.io/v1beta1)."""
    name = buffer_name(cluster.metadata.name, cluster.metadata.uid)
    return {
        "apiVersion": "autoscaling.x-k8s.io/v1beta1",
        "kind": "CapacityBuffer",
        "metadata": _buffer_metadata(cluster),
        "spec": {"podTemplateRef": {"name": name}, "replicas": count},
    }


def buffer_template(cluster: Cluster, image: str) -> dict[str, Any]:
    """The PodTemplate of the buffer: placeholders."""
    pod = placeholder(cluster, 0, image)
    template = {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": _buffer_metadata(cluster), "template": template}


def _buffer_metadata(cluster: Cluster) -> dict[str, Any]:
    metadata = cluster.metadata
    return {
        "name": buffer_name(metadata.name, metadata.uid),
        "namespace": metadata.namespace,
        "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
        "ownerReferences": [owner(cluster)],
    }


def _terms(spec: ClusterSpec) -> Iterator[dict[str, Any]]:
    """Node selector terms, of which one must hold: spot nodes are labelled differently by each cloud."""
    wanted = [
        {"key": names.INSTANCE_TYPE_LABEL, "operator": "In", "values": instance_types(spec.vm_size)},
        *({"key": key, "operator": "In", "values": [value]} for key, value in (spec.node_selector or {}).items()),
    ]
    if spec.vm_priority != "lowpriority":
        # An autoscaler that may choose would bring a spot node, which a dedicated cluster never takes.
        dedicated = ({"key": key, "operator": "NotIn", "values": [value]} for key, value in SPOT_LABELS.items())
        yield {"matchExpressions": [*wanted, *dedicated]}
        return
    for key, value in SPOT_LABELS.items():
        yield {"matchExpressions": [*wanted, {"key": key, "operator": "In", "values": [value]}]}


def instance_types(vm_size: str) -> list[str]:
    """How nodes may write a VM size: as given, and as Azure does (STANDARD_NC6S_V3 → Standard_NC6s_v3).

    Selectors know upper and lower case, the service did not.
    """
    match = _SIZE.fullmatch(vm_size)
    if match is None:
        return [vm_size]
    size, features, rest = match.groups()
    parts = [part.lower() if re.fullmatch(r"(?i)v[0-9]+", part) else part.upper() for part in rest.split("_")]
    return list(dict.fromkeys([vm_size, f"Standard_{size.upper()}{features.lower()}{'_'.join(parts)}"]))
