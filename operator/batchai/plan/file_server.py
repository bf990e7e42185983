"""A FileServer as Kubernetes objects: a StatefulSet of one NFS server with its claim, and Services (reference §1.3).

The claim's volume has three folders: what is exported, what the server notes of its clients, and ssh's host keys.
"""

import hashlib
import json
from ipaddress import ip_network
from typing import Any

from batchai.api import names
from batchai.api.fileserver import FileServer
from batchai.errors import SpecError
from batchai.plan.naming import file_server_name
from batchai.plan.node_pod import literal
from batchai.plan.ownership import owner

EXPORT = "/data"
NFS_PORT = 2049
SSH_PORT = 22
SERVER_CONTAINER = "nfs"
CLAIM = "data"

# What the file system needs that a client's user is to be minded in; DAC_READ_SEARCH opens files by their handles.
_NFS_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "SETGID", "SETUID"]
_SSH_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID"]
_GRACE_SECONDS = 30
_UNREACHABLE_SECONDS = 60
"""How long the server stays on a node that does not answer; then it is to end, and goes elsewhere once that is sure."""


def service(server: FileServer) -> dict[str, Any]:
    """The Service that gives the server its address in the cluster, which stays while the FileServer does."""
    ports = [_port(SERVER_CONTAINER, NFS_PORT), *([_port("ssh", SSH_PORT)] if _ssh_key(server) else [])]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        **_described(server, file_server_name(server.metadata.name), {"selector": _labels(server), "ports": ports}),
    }


def public_service(server: FileServer) -> dict[str, Any] | None:
    """The load balancer for ssh from outside; None unless the FileServer says who may come, and with which key.

    Raises SpecError for what is no range of addresses.
    """
    allowed = server.spec.ssh_configuration.public_ips_to_allow if server.spec.ssh_configuration else None
    if not allowed or not _ssh_key(server):
        return None
    spec: dict[str, Any] = {
        "type": "LoadBalancer",
        "selector": _labels(server),
        "ports": [_port("ssh", SSH_PORT)],
    }
    if "*" not in allowed:
        spec["loadBalancerSourceRanges"] = [_range(index, text) for index, text in enumerate(allowed)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        **_described(server, f"{file_server_name(server.metadata.name)}-public", spec),
    }


def stateful_set(server: FileServer, image: str, storage_class: str | None) -> dict[str, Any]:
    """The server with its claim. storage_class: None for the cluster's default. Raises SpecError for a user root."""
    name = file_server_name(server.metadata.name)
    spec = {
        "serviceName": name,
        "replicas": 1,
        # Else a pod that never was ready, as with a wrong image, is never replaced by a better one.
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": _labels(server)},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": server.spec.reclaim_policy, "whenScaled": "Retain"},
        "template": {"metadata": {"labels": _labels(server)}, "spec": _pod(server, image)},
        "volumeClaimTemplates": [
            {
                "metadata": {"name": CLAIM, "labels": {**_labels(server), **whose_data(server)}},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    **({"storageClassName": storage_class} if storage_class else {}),
                    "resources": {"requests": {"storage": f"{size_in_gb(server)}Gi"}},
                },
            }
        ],
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", **_described(server, name, spec)}


def claim_name(server: str) -> str:
    """The claim that holds a FileServer's data."""
    return f"{CLAIM}-{file_server_name(server)}-0"


def size_in_gb(server: FileServer) -> int:
    """What the claim asks for: all disks together."""
    return server.spec.data_disks.disk_count * server.spec.data_disks.disk_size_in_gb


def in_gb(quantity: str) -> int | None:
    """The size of a claim as we write it and as Kubernetes keeps that (1024Gi is 1Ti); None for any other."""
    factors = {"Gi": 1, "Ti": 1024}
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) * factors[unit] if unit in factors and number.isdigit() else None


def whose_data(server: FileServer) -> dict[str, str]:
    """Labels of a claim, which may outlive its FileServer: Azure's names, for Kubernetes' may come to be another's."""
    labels = server.metadata.labels
    return {name: labels[name] for name in (names.LABEL_WORKSPACE, names.LABEL_NAME) if name in labels}


def _described(server: FileServer, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """metadata and spec; the fingerprint tells whether the object is what is wanted now, defaults aside."""
    fingerprint = hashlib.sha1(json.dumps(spec, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    return {
        "metadata": {
            "name": name,
            "namespace": server.metadata.namespace,
            "labels": _labels(server),
            "annotations": {names.ANNOTATION_PLAN: fingerprint},
            "ownerReferences": [owner(server)],
        },
        "spec": spec,
    }


def _labels(server: FileServer) -> dict[str, str]:
    return {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_FILE_SERVER: server.metadata.name}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": name}


def _pod(server: FileServer, image: str) -> dict[str, Any]:
    key = _ssh_key(server)
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # Beside jobs only where there is no other node.
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "preference": {"matchExpressions": [{"key": names.LABEL_CLUSTER, "operator": "DoesNotExist"}]},
                    }
                ]
            }
        },
        "tolerations": [
            {"key": names.TAINT_CLUSTER, "operator": "Exists", "effect": "NoSchedule"},
            *(
                {
                    "key": f"node.kubernetes.io/{state}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _UNREACHABLE_SECONDS,
                }
                for state in ("not-ready", "unreachable")
            ),
        ],
        "containers": [_nfs(image), *([_ssh(server, image, key)] if key else [])],
    }


def _nfs(image: str) -> dict[str, Any]:
    asks = {"tcpSocket": {"port": SERVER_CONTAINER}}
    return {
        "name": SERVER_CONTAINER,
        "image": image,
        "command": ["serve-nfs"],
        "ports": [{"name": SERVER_CONTAINER, "containerPort": NFS_PORT}],
        "startupProbe": {**asks, "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {**asks, "periodSeconds": 5},
        "livenessProbe": {**asks, "periodSeconds": 20, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        # The runtimes' own profile forbids name_to_handle_at, without which nothing can be exported.
        "securityContext": {**_security(_NFS_CAPABILITIES), "seccompProfile": {"type": "Unconfined"}},
        "volumeMounts": [
            {"name": CLAIM, "mountPath": EXPORT, "subPath": "export"},
            {"name": CLAIM, "mountPath": "/var/lib/nfs/ganesha", "subPath": "clients"},
        ],
    }


def _ssh(server: FileServer, image: str, key: str) -> dict[str, Any]:
    account = (
        server.spec.ssh_configuration.user_account_settings.admin_user_name if server.spec.ssh_configuration else ""
    )
    if account == "root":
        raise SpecError(
            "spec.sshConfiguration.userAccountSettings.adminUserName",
            "may not be root, who would have all rights on the data: choose another name",
        )
    return {
        "name": "ssh",
        "image": image,
        "command": ["serve-ssh"],
        "env": [{"name": "ADMIN_USER", "value": literal(account)}, {"name": "ADMIN_KEY", "value": literal(key)}],
        "ports": [{"name": "ssh", "containerPort": SSH_PORT}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {**_security(_SSH_CAPABILITIES), "seccompProfile": {"type": "RuntimeDefault"}},
        "volumeMounts": [
            {"name": CLAIM, "mountPath": EXPORT, "subPath": "export"},
            {"name": CLAIM, "mountPath": "/etc/dropbear", "subPath": "hostkeys"},
        ],
    }


def _security(capabilities: list[str]) -> dict[str, Any]:
    return {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": capabilities},
    }


def _ssh_key(server: FileServer) -> str | None:
    access = server.spec.ssh_configuration
    return access.user_account_settings.admin_user_ssh_public_key if access else None


def _range(index: int, text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise SpecError(
            f"spec.sshConfiguration.publicIPsToAllow[{index}]",
            f"'{text}' is no address or range such as 203.0.113.0/24",
        ) from None
