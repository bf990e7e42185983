"""mountVolumes as volumes of pods (Batch AI reference §6.4).

Values of secrets never pass through here: a volume names its Secret, the CSI driver reads it.

Every mount is inline in its pod if it can be, for then it needs nothing beside the pod and goes with it. A static
PersistentVolume with its claim stands behind an NFS mount whose options a pod cannot say, and behind every NFS mount of
a pod under Pod Security `restricted`, which knows claims only.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchai.api.cluster import ClusterSpec
from batchai.api.mounts import (
    AzureBlobFileSystem,
    AzureFileShare,
    FileServerReference,
    MountVolumes,
    PersistentVolumeClaimMount,
    StorageCredentials,
    UnmanagedFileSystem,
)
from batchai.errors import SpecError
from batchai.plan import blobfuse, nfs
from batchai.plan.directories import MOUNT_ROOT, file_account, secret_name, share_of
from batchai.plan.mount_commands import MountCommand, mount_command

FILE_DRIVER = "file.csi.azure.com"
BLOB_DRIVER = "blob.csi.azure.com"
FILE_VOLUME = "azurefile"
BLOB_VOLUME = "blobfs"
NFS_VOLUME = "nfs"
CLAIM_VOLUME = "claim"
COMMAND_VOLUME = "mount"
PUBLIC_SUFFIX = "core.windows.net"
"""The domain of storage accounts in Azure's public cloud."""

_FILE_OPTIONS = ("mfsymlinks", "cache=strict", "nosharesock", "actimeo=30", "nobrl", "uid=0", "gid=0")


@dataclass(frozen=True)
class Endpoints:
    """Where storage accounts are that are not in Azure's public cloud.

    suffix: the domain of all accounts; files, blobs: account → host, or for blobs URL, of one account's service.
    """

    suffix: str = PUBLIC_SUFFIX
    files: Mapping[str, str] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Export:
    """What a FileServer exports: the server's address, and the path of the export."""

    server: str
    path: str


UNASKED_EXPORT = Export("file-server", "/")
"""Stands for the export of a FileServer that nobody has to mount."""


@dataclass(frozen=True)
class Surroundings:
    """What mounts are planned with besides a spec.

    export: the export of the FileServer of an id; raises DependencyNotReady for one that does not serve. The default
    takes every one to serve, for checks before anything is mounted.
    claims_only: only claims may be in the pod; owner: the UID of what the pod is made for. command_image: what mount
    commands run in, None where they may not.
    """

    endpoints: Endpoints = Endpoints()
    export: Callable[[str], Export] = lambda _: UNASKED_EXPORT
    claims_only: bool = False
    owner: str = ""
    command_image: str | None = None


@dataclass(frozen=True)
class Mount:
    """One mount of a pod: the volume's name and source, its mount path, and what to call it in logs.

    static: the export behind the claim of the same name as the volume, which is made for the pod's owner. command: what
    a container beside the pod's own must run for it.
    """

    volume: str
    source: dict[str, Any]
    path: str
    title: str
    read_only: bool = False
    sub_path: str | None = None
    static: nfs.NfsMount | None = None
    command: MountCommand | None = None

    def pod_volume(self) -> dict[str, Any]:
        """The entry of spec.volumes."""
        return {"name": self.volume, **self.source}

    def volume_mount(self) -> dict[str, Any]:
        """The entry of a container's volumeMounts; a FUSE process that comes back is seen by the container."""
        entry: dict[str, Any] = {"name": self.volume, "mountPath": self.path, "mountPropagation": "HostToContainer"}
        if self.sub_path is not None:
            entry["subPath"] = self.sub_path
        if self.read_only:
            entry["readOnly"] = True
        return entry


def job_mounts(volumes: MountVolumes | None, root: str, surroundings: Surroundings) -> tuple[Mount, ...]:
    """The mounts of a job under `root`, in its order.

    Raises SpecError for what cannot be mounted, DependencyNotReady for a file server that does not serve.
    """
    return tuple(_Planner(surroundings, root, "spec.mountVolumes", "").plan(volumes)) if volumes else ()


def cluster_mounts(spec: ClusterSpec, surroundings: Surroundings) -> tuple[Mount, ...]:
    """The mounts that every job of the cluster sees besides its own. Raises as `job_mounts` does."""
    volumes = spec.shared_volumes
    planner = _Planner(surroundings, MOUNT_ROOT, "spec.nodeSetup.mountVolumes", "cluster")
    return tuple(planner.plan(volumes)) if volumes else ()


def secret_names(volumes: MountVolumes | None) -> tuple[str, ...]:
    """The Secrets that the mounts need, each once, sorted."""
    blobs = (volumes.azure_blob_file_systems or []) if volumes else []
    names = {secret_name(blob.credentials, blob.account_name) for blob in blobs if not _identity(blob.credentials)}
    return tuple(sorted(names | key_secret_names(volumes)))


def key_secret_names(volumes: MountVolumes | None) -> set[str]:
    """Those of them that must hold the account's key, because SMB knows no SAS."""
    shares = (volumes.azure_file_shares or []) if volumes else []
    return {
        secret_name(share.credentials, file_account(share.account_name, share.azure_file_url))
        for share in shares
        if not _identity(share.credentials)
    }


def claim_names(volumes: MountVolumes | None) -> set[str]:
    """The PersistentVolumeClaims that the mounts need."""
    return {claim.claim_name for claim in (volumes.persistent_volume_claims or [])} if volumes else set()


def file_server_ids(volumes: MountVolumes | None) -> set[str]:
    """The ids of the FileServers that the mounts need."""
    return {server.file_server.id for server in (volumes.file_servers or [])} if volumes else set()


def dropped_options(volumes: MountVolumes | None) -> tuple[str, ...]:
    """The words of the containers' mountOptions that are left out of their mounts, each once, in their order."""
    blobs = (volumes.azure_blob_file_systems or []) if volumes else []
    return tuple(dict.fromkeys(word for blob in blobs for word in blobfuse.dropped(blob.mount_options)))


def static_name(owner: str, volume: str) -> str:
    """The PersistentVolume, and its claim, behind a volume of pods whose owner has this UID."""
    return f"batchai-{owner}-{volume}"


@dataclass(frozen=True)
class _Planner:
    surroundings: Surroundings
    root: str
    field: str
    scope: str

    def plan(self, volumes: MountVolumes) -> Iterator[Mount]:
        for index, share in enumerate(volumes.azure_file_shares or []):
            where = f"{self.field}.azureFileShares[{index}]"
            source = self._file_source(share, where)
            name = f"{FILE_VOLUME}-{self.scope}{index}"
            yield Mount(name, source, self._path(share), share.azure_file_url, share.read_only)
        for index, blob in enumerate(volumes.azure_blob_file_systems or []):
            where = f"{self.field}.azureBlobFileSystems[{index}]"
            source = self._blob_source(blob, where)
            title = f"{blob.account_name}/{blob.container_name}"
            yield Mount(f"{BLOB_VOLUME}-{self.scope}{index}", source, self._path(blob), title, blob.read_only)
        for index, server in enumerate(volumes.file_servers or []):
            found = self._exported(server, f"{self.field}.fileServers[{index}]")
            yield self._nfs(f"{NFS_VOLUME}-{self.scope}{index}", found, self._path(server))
        for index, own in enumerate(volumes.unmanaged_file_systems or []):
            yield self._unmanaged(own, index)
        for claim in volumes.persistent_volume_claims or []:
            yield _claim(claim, self._path(claim))

    def _path(self, mount: Any) -> str:
        return f"{self.root}/{mount.relative_mount_path.strip('/')}"

    def _file_source(self, share: AzureFileShare, where: str) -> dict[str, Any]:
        host, name = share_of(share.azure_file_url)
        account = file_account(share.account_name, share.azure_file_url)
        options = (f"file_mode={share.file_mode}", f"dir_mode={share.directory_mode}", *_FILE_OPTIONS)
        attributes = {
            "shareName": name,
            **_credentials(share.credentials, account, where),
            "mountOptions": ",".join((*options, *(["ro"] if share.read_only else []))),
        }
        server = self.surroundings.endpoints.files.get(account, host)
        if server != f"{account}.file.{PUBLIC_SUFFIX}":
            attributes["server"] = server
        return {"csi": {"driver": FILE_DRIVER, "volumeAttributes": attributes}}

    def _blob_source(self, blob: AzureBlobFileSystem, where: str) -> dict[str, Any]:
        options = blobfuse.translate(blob.mount_options, f"{where}.mountOptions").kept
        read_only = ["-o ro"] if blob.read_only and "-o ro" not in options else []
        attributes = {
            "protocol": "fuse2",
            "containerName": blob.container_name,
            **_credentials(blob.credentials, blob.account_name, where),
            "mountOptions": ",".join((*options, *read_only)),
        }
        endpoints = self.surroundings.endpoints
        if blob.account_name in endpoints.blobs:
            attributes["server"] = endpoints.blobs[blob.account_name]
        elif endpoints.suffix != PUBLIC_SUFFIX:
            attributes["storageEndpointSuffix"] = endpoints.suffix
        return {"csi": {"driver": BLOB_DRIVER, "volumeAttributes": attributes}}

    def _exported(self, server: FileServerReference, where: str) -> nfs.NfsMount:
        below = (server.source_directory or "").strip("/")
        if ".." in below.split("/"):
            raise SpecError(f"{where}.sourceDirectory", "must name a directory of the server, without '..' parts")
        found = self.surroundings.export(server.file_server.id)
        path = f"{found.path.rstrip('/')}/{below}".rstrip("/") or "/"
        options = f"{where}.mountOptions"
        return nfs.export(found.server, path, server.mount_options, read_only=server.read_only, field=options)

    def _unmanaged(self, own: UnmanagedFileSystem, index: int) -> Mount:
        field = f"{self.field}.unmanagedFileSystems[{index}].mountCommand"
        found = nfs.of_command(own.mount_command, field)
        if found is not None:
            return self._nfs(f"{NFS_VOLUME}-own-{self.scope}{index}", found, self._path(own))
        volume, surroundings = f"{COMMAND_VOLUME}-{self.scope}{index}", self.surroundings
        command = mount_command(
            own.mount_command,
            surroundings.command_image,
            f"{surroundings.owner}/{volume}",
            claims_only=surroundings.claims_only,
            field=field,
        )
        source = {"hostPath": {"path": command.directory, "type": "DirectoryOrCreate"}}
        return Mount(volume, source, self._path(own), command.command, command=command)

    def _nfs(self, volume: str, found: nfs.NfsMount, path: str) -> Mount:
        surroundings = self.surroundings
        if found.options or surroundings.claims_only:
            source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": static_name(surroundings.owner, volume)}}
            return Mount(volume, source, path, found.title, found.read_only, static=found)
        source = {"nfs": {"server": found.server, "path": found.path, "readOnly": found.read_only}}
        return Mount(volume, source, path, found.title, found.read_only)


def _claim(claim: PersistentVolumeClaimMount, path: str) -> Mount:
    """One volume for all mounts of a claim: the kubelet never starts a pod that has a claim in two volumes."""
    name = claim.claim_name
    volume = f"{CLAIM_VOLUME}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    source = {"persistentVolumeClaim": {"claimName": name}}
    title = f"{name}/{claim.sub_path}" if claim.sub_path else name
    return Mount(volume, source, path, title, claim.read_only, claim.sub_path)


def _identity(credentials: StorageCredentials | None) -> bool:
    return credentials is not None and credentials.workload_identity is not None


def _credentials(credentials: StorageCredentials | None, account: str, where: str) -> dict[str, str]:
    """The attributes of a volume that say who mounts: a Secret, or an identity."""
    if credentials is not None and credentials.workload_identity is not None:
        identity = credentials.workload_identity
        tenant = {"tenantID": identity.tenant_id} if identity.tenant_id else {}
        # Only with this attribute do the drivers look at the account of an inline volume.
        return {
            "storageAccount": account,
            "clientID": identity.client_id,
            **tenant,
            "mountWithWorkloadIdentityToken": "true",
        }
    if credentials is not None and credentials.account_key_secret_reference and not credentials.secret_ref:
        # For inline volumes Azure's drivers take the account from the Secret alone.
        raise SpecError(
            f"{where}.credentials.accountKeySecretReference",
            "a mount's Secret has the account's name beside the key, and a Key Vault has the key alone: put "
            "both into a Secret and name it in credentials.secretRef",
        )
    return {"secretName": secret_name(credentials, account)}
