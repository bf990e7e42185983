"""The PersistentVolumes and claims behind mounts that cannot be inline in a pod.

PersistentVolumes belong to no namespace, so no owner takes them along: their labels say whose they are, and they are
swept when that is gone or has ended. Names are functions of the owner's UID, so that they are made once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from batchai.api import names
from batchai.plan.mounts import Mount, static_name

_SIZE = "1Ti"
"""A claim must ask for a size; for NFS nobody looks at it."""


@dataclass(frozen=True)
class VolumeOwner:
    """Whose static volumes they are. reference: its ownerReference; label: one of names.LABEL_JOB, LABEL_SETUP."""

    namespace: str
    label: str
    reference: Mapping[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        """The labels that find the owner again."""
        return {names.LABEL_MANAGED_BY: names.MANAGED_BY, self.label: self.reference["name"]}


@dataclass(frozen=True)
class StaticVolume:
    """A volume and its claim, bound to each other before anybody else can bind them."""

    volume: dict[str, Any]
    claim: dict[str, Any]


def static_volumes(mounts: Iterable[Mount], owner: VolumeOwner) -> list[StaticVolume]:
    """What must be there before the pods of these mounts."""
    return [_pair(mount, owner) for mount in mounts if mount.static is not None]


def belongs_to(volume: Mapping[str, Any], uid: str) -> bool:
    """Whether a PersistentVolume was made for the owner with this UID, not for an earlier one of its name."""
    name: str = volume["metadata"]["name"]
    return name.startswith(static_name(uid, ""))


def _pair(mount: Mount, owner: VolumeOwner) -> StaticVolume:
    export = mount.static
    assert export is not None  # noqa: S101 - the caller looked
    name = mount.source["persistentVolumeClaim"]["claimName"]
    modes = ["ReadOnlyMany" if export.read_only else "ReadWriteMany"]
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": owner.namespace, "name": name}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": owner.labels},
        "spec": {
            "capacity": {"storage": _SIZE},
            "accessModes": modes,
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": reference,
            "mountOptions": [*export.options, *(["ro"] if export.read_only else [])],
            "nfs": {"server": export.server, "path": export.path, "readOnly": export.read_only},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": owner.labels,
            "ownerReferences": [dict(owner.reference)],
        },
        "spec": {
            "accessModes": modes,
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": {"storage": _SIZE}},
        },
    }
    return StaticVolume(volume, claim)
