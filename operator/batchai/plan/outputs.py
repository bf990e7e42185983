"""Outputs on volumes that nothing but a pod can mount: claims and NFS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from batchai.plan.mounts import Mount

READER_CONTAINER = "reader"
READER_ROOT = "/volume"
READER_BUSYBOX = "/launcher/busybox"
_LONGEST_SECONDS = 4 * 3600
"""A reader that nobody removes ends by itself."""


@dataclass(frozen=True)
class VolumeLocation:
    """A directory on a volume. source: the volume as an entry of a pod's volumes, without its name."""

    source: Mapping[str, Any]
    path: str


def volume_location(path: str, mounts: Iterable[Mount]) -> VolumeLocation | None:
    """Where a path of a container lies on its mounts; None if it is on none of them."""
    for mount in mounts:
        if path == mount.path or path.startswith(f"{mount.path}/"):
            inside = "/".join(filter(None, (mount.sub_path, path.removeprefix(mount.path).strip("/"))))
            return VolumeLocation(_readable(mount), inside)
    return None


def _readable(mount: Mount) -> dict[str, Any]:
    """A static volume goes with its job; what is behind it stays."""
    if mount.static is None:
        return mount.source
    return {"nfs": {"server": mount.static.server, "path": mount.static.path, "readOnly": True}}


def reader_pod(
    name: str, namespace: str, location: VolumeLocation, image: str, *, node: str | None, user: int | None
) -> dict[str, Any]:
    """A pod that does nothing but hold the volume for commands that read it; image: the launcher's.

    node: where it must run, for volumes that one node at a time can have; user: whose rights it has, None for root's.
    """
    security: dict[str, Any] = {
        "runAsUser": user or 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **({} if user else {"add": ["DAC_READ_SEARCH"]})},
        "seccompProfile": {"type": "RuntimeDefault"},
        **({"runAsNonRoot": True} if user else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "batchai-reader"}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LONGEST_SECONDS,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **({"nodeName": node} if node else {}),
            # Any node will do, those with jobs included: it needs next to nothing.
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
            "containers": [
                {
                    "name": READER_CONTAINER,
                    "image": image,
                    "command": [READER_BUSYBOX, "sleep", str(_LONGEST_SECONDS)],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                    "securityContext": security,
                    "volumeMounts": [{"name": "volume", "mountPath": READER_ROOT, "readOnly": True}],
                }
            ],
            "volumes": [{"name": "volume", **location.source}],
        },
    }
