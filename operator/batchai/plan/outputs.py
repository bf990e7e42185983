"""Outputs on volumes that nothing but a pod can mount: claims and NFS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from batchai.api.mounts import MountVolumes
from batchai.errors import SpecError
from batchai.plan.mounts import Mount

READER_CONTAINER = "reader"
READER_ROOT = "/volume"
READER_BUSYBOX = "/launcher/busybox"
READER_LABELS = {"app.kubernetes.io/name": "batchai-reader"}
_LONGEST_SECONDS = 3600
"""A reader that nobody removes ends by itself; who still needs one makes another."""


@dataclass(frozen=True)
class VolumeLocation:
    """A directory on a volume. source: the volume as an entry of a pod's volumes, without its name."""

    source: Mapping[str, Any]
    path: str


def file_servers_behind(path: str, volumes: MountVolumes | None, root: str) -> set[str]:
    """The ids of the FileServers that a path of a container lies on, by the mounts below `root`."""
    servers = (volumes.file_servers or []) if volumes else []
    return {
        server.file_server.id for server in servers if _lies(path, f"{root}/{server.relative_mount_path.strip('/')}")
    }


def volume_location(path: str, mounts: Iterable[Mount], *, lives: bool, restricted: bool) -> VolumeLocation | None:
    """Where a path of a container lies on its mounts; None if it is on none of them.

    lives: whether the mounts' owner has not ended: a static volume goes with it, what is behind it stays. restricted:
    whether pods may not mount that themselves. Raises SpecError where it can be read no more.
    """
    for mount in mounts:
        if _lies(path, mount.path):
            inside = "/".join(filter(None, (mount.sub_path, path.removeprefix(mount.path).strip("/"))))
            return VolumeLocation(_readable(mount, lives=lives, restricted=restricted), inside)
    return None


def _lies(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _readable(mount: Mount, *, lives: bool, restricted: bool) -> dict[str, Any]:
    if mount.command is not None:
        raise SpecError(
            "outputDirectories",
            f"it lies on what '{mount.title}' mounts, which no other pod can read: read it where the file system is, "
            "or while the job runs by 'job node exec'",
        )
    if mount.static is None or lives:
        return mount.source
    if restricted:
        raise SpecError(
            "outputDirectories",
            f"it lies on {mount.title}, which Pod Security 'restricted' lets nobody read when the job has ended: "
            "read it where the export is, or by a claim of your own",
        )
    return {"nfs": {"server": mount.static.server, "path": mount.static.path, "readOnly": True}}


def reader_pod(
    name: str, namespace: str, location: VolumeLocation, image: str, *, node: str | None, user: int | None
) -> dict[str, Any]:
    """A pod that does nothing but hold the volume for commands that read it; image: the launcher's.

    node: where it must run, for volumes that one node at a time can have; user: whose rights it has, None for root's.
    """
    # DAC_READ_SEARCH would do, but Pod Security 'baseline' does not know it; the volume is mounted read-only.
    security: dict[str, Any] = {
        "runAsUser": user or 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **({} if user else {"add": ["DAC_OVERRIDE"]})},
        "seccompProfile": {"type": "RuntimeDefault"},
        **({"runAsNonRoot": True} if user else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": READER_LABELS},
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
