"""A job's mountVolumes as inline CSI volumes of its pods (Batch AI reference §6.4).

Values of secrets never pass through here: a volume names its Secret, the CSI driver reads it.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchai.api.cluster import ClusterSpec
from batchai.api.mounts import AzureBlobFileSystem, AzureFileShare, MountVolumes
from batchai.errors import SpecError
from batchai.plan.directories import MOUNT_ROOT, file_account, secret_name, share_of

FILE_DRIVER = "file.csi.azure.com"
BLOB_DRIVER = "blob.csi.azure.com"
FILE_VOLUME = "azurefile"
BLOB_VOLUME = "blobfs"

_FILE_OPTIONS = ("mfsymlinks", "cache=strict", "nosharesock", "actimeo=30", "nobrl", "uid=0", "gid=0")
_BLOB_OPTIONS = (
    "-o allow_other",
    "-o attr_timeout=240",
    "-o entry_timeout=240",
    "-o negative_timeout=120",
    "--cancel-list-on-mount-seconds=10",
    "--log-level=LOG_WARNING",
)
# What blobfuse 1 knew and blobfuse 2 refuses at the mount: dropped, they only tuned its cache.
_BLOBFUSE1_OPTIONS = re.compile(r"(big_writes|max_read=\d+|max_write=\d+|fsname=.*|kernel_cache)")
_BLOBFUSE1_FLAGS = re.compile(r"--(tmp-path|use-https|container-name|config-file|log-file-path)(=.*)?")


@dataclass(frozen=True)
class Mount:
    """One mount of a pod: the volume's name and source, its mount path, and what to call it in logs."""

    volume: str
    source: dict[str, Any]
    path: str
    title: str

    def pod_volume(self) -> dict[str, Any]:
        """The entry of spec.volumes."""
        return {"name": self.volume, **self.source}

    def volume_mount(self) -> dict[str, Any]:
        """The entry of a container's volumeMounts; a FUSE process that comes back is seen by the container."""
        return {"name": self.volume, "mountPath": self.path, "mountPropagation": "HostToContainer"}


def job_mounts(volumes: MountVolumes | None, root: str) -> tuple[Mount, ...]:
    """The mounts of a job under `root`, in its order. Raises SpecError for what this version cannot mount."""
    return tuple(_mounts(volumes, root)) if volumes else ()


def cluster_mounts(spec: ClusterSpec) -> tuple[Mount, ...]:
    """The mounts that every job of the cluster sees besides its own. Raises SpecError as `job_mounts` does."""
    setup = spec.node_setup
    if setup is None or setup.mount_volumes is None:
        return ()
    return tuple(_mounts(setup.mount_volumes, MOUNT_ROOT, field="spec.nodeSetup.mountVolumes", scope="cluster"))


def secret_names(volumes: MountVolumes | None) -> tuple[str, ...]:
    """The Secrets that the mounts need, each once, sorted."""
    if volumes is None:
        return ()
    files = {
        secret_name(share.credentials, file_account(share.account_name, share.azure_file_url))
        for share in volumes.azure_file_shares or []
    }
    blobs = {secret_name(blob.credentials, blob.account_name) for blob in volumes.azure_blob_file_systems or []}
    return tuple(sorted(files | blobs))


def _mounts(volumes: MountVolumes, root: str, *, field: str = "spec.mountVolumes", scope: str = "") -> Iterator[Mount]:
    for name, unsupported in (
        ("fileServers", volumes.file_servers),
        ("unmanagedFileSystems", volumes.unmanaged_file_systems),
    ):
        if unsupported:
            raise SpecError(
                f"{field}.{name}",
                "this version mounts azureFileShares and azureBlobFileSystems only",
            )
    for index, share in enumerate(volumes.azure_file_shares or []):
        path = f"{root}/{share.relative_mount_path.strip('/')}"
        yield Mount(f"{FILE_VOLUME}-{scope}{index}", _file_source(share), path, share.azure_file_url)
    for index, blob in enumerate(volumes.azure_blob_file_systems or []):
        path = f"{root}/{blob.relative_mount_path.strip('/')}"
        title = f"{blob.account_name}/{blob.container_name}"
        yield Mount(f"{BLOB_VOLUME}-{scope}{index}", _blob_source(blob), path, title)


def _file_source(share: AzureFileShare) -> dict[str, Any]:
    host, name = share_of(share.azure_file_url)
    account = file_account(share.account_name, share.azure_file_url)
    attributes = {
        "shareName": name,
        "secretName": secret_name(share.credentials, account),
        "mountOptions": ",".join((f"file_mode={share.file_mode}", f"dir_mode={share.directory_mode}", *_FILE_OPTIONS)),
    }
    if host != f"{account}.file.core.windows.net":
        attributes["server"] = host
    return {"csi": {"driver": FILE_DRIVER, "volumeAttributes": attributes}}


def _blob_source(blob: AzureBlobFileSystem) -> dict[str, Any]:
    attributes = {
        "protocol": "fuse2",
        "containerName": blob.container_name,
        "secretName": secret_name(blob.credentials, blob.account_name),
        "mountOptions": ",".join(blob_options(blob.mount_options)),
    }
    return {"csi": {"driver": BLOB_DRIVER, "volumeAttributes": attributes}}


def blob_options(mount_options: str | None) -> tuple[str, ...]:
    """blobfuse 2's options for the blobfuse 1 options of a job.

    Options that blobfuse 2 or its inline volumes refuse are dropped if they only tuned blobfuse 1.
    Without options, the service's defaults that still mean something (reference §6.4).
    Raises SpecError if the text does not split into options.
    """
    if not mount_options or not mount_options.strip():
        return _BLOB_OPTIONS
    try:
        words = shlex.split(mount_options)
    except ValueError as error:
        raise SpecError("spec.mountVolumes.azureBlobFileSystems.mountOptions", f"{error}") from None
    return tuple(_options(words))


def _options(words: list[str]) -> Iterator[str]:
    remaining = iter(words)
    for word in remaining:
        if word == "-o":
            yield from _fuse_options(next(remaining, ""))
        elif word.startswith("-o"):
            yield from _fuse_options(word[2:])
        elif not _BLOBFUSE1_FLAGS.fullmatch(word):
            yield word


def _fuse_options(text: str) -> Iterator[str]:
    for option in filter(None, (part.strip() for part in text.split(","))):
        if not _BLOBFUSE1_OPTIONS.fullmatch(option):
            yield f"-o {option}"
