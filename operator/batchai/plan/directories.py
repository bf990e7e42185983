"""Where a job's directories lie: on its nodes, and in storage (Batch AI reference §5).

The command line uses the same functions as the planner, so both agree on where an output is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from batchai.api.cluster import ClusterSpec
from batchai.api.job import JobSpec
from batchai.api.mounts import (
    AzureFileShare,
    FileServerReference,
    MountVolumes,
    StorageCredentials,
    default_secret_name,
)
from batchai.errors import SpecError
from batchai.plan.nfs import option_words

ROOT = "/mnt/batch/tasks/shared/LS_root"
MOUNT_ROOT = f"{ROOT}/mounts"
JOB_TEMP_DIR = f"{ROOT}/jobs"
STDOUTERR = "stdouterr"
"""The id of the built-in output directory, and its folder's name."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class JobIdentity:
    """What makes a job unique; Azure names, not Kubernetes names, where they differ.

    subscription: the UID of the kube-system namespace; resource_group: the namespace; uid: the Job's UID.
    """

    subscription: str
    resource_group: str
    workspace: str
    experiment: str
    job: str
    uid: str

    @classmethod
    def of_segment(cls, segment: str) -> "JobIdentity":
        """The identity behind a jobOutputDirectoryPathSegment, the inverse of `segment`."""
        subscription, group, _, workspace, _, experiment, _, job, uid = segment.split("/")
        return cls(subscription, group, workspace, experiment, job, uid)

    @property
    def segment(self) -> str:
        """jobOutputDirectoryPathSegment (reference §5.2)."""
        return (
            f"{self.subscription}/{self.resource_group}/workspaces/{self.workspace}"
            f"/experiments/{self.experiment}/jobs/{self.job}/{self.uid}"
        )

    @property
    def temp(self) -> str:
        """$AZ_BATCHAI_JOB_TEMP on every node (reference §5.1)."""
        return f"{JOB_TEMP_DIR}/{self.workspace}/{self.experiment}/{self.job}"

    @property
    def mount_root(self) -> str:
        """$AZ_BATCHAI_JOB_MOUNT_ROOT."""
        return f"{self.temp}/mounts"

    @property
    def roots(self) -> dict[str, str]:
        """The variables that a path prefix may name."""
        return {
            "AZ_BATCHAI_MOUNT_ROOT": MOUNT_ROOT,
            "AZ_BATCHAI_JOB_MOUNT_ROOT": self.mount_root,
            "AZ_BATCHAI_JOB_TEMP": self.temp,
            "AZ_BATCHAI_JOB_TEMP_DIR": JOB_TEMP_DIR,
            "AZ_BATCHAI_SHARED_JOB_TEMP": f"{self.temp}/shared",
        }


@dataclass(frozen=True)
class StorageLocation:
    """A directory in Azure storage.

    kind: "file" (a share) or "blob" (a container); path: below its root, without slashes at the ends;
    host: the share's host as the job names it, None for a container.
    """

    kind: Literal["file", "blob"]
    account: str
    container: str
    path: str
    secret_name: str
    host: str | None = None


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces $NAME and ${NAME} by the variables that are known; leaves the others as they are."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2], match[0])

    return _VARIABLE.sub(value, text)


def directory_path(prefix: str, identity: JobIdentity, *parts: str) -> str:
    """`<prefix>/<segment>/<parts>` as an absolute path (reference §5.2); slashes at the prefix's end are tolerated."""
    root = expand(prefix, identity.roots).rstrip("/")
    return "/".join((root, identity.segment, *(part.strip("/") for part in parts if part.strip("/"))))


def check_absolute(path: str, field: str) -> None:
    """Raises SpecError for a directory that would lie wherever a process happens to be."""
    if not path.startswith("/"):
        raise SpecError(
            field, "is no absolute path: begin it with '/' or, for a mount, with $AZ_BATCHAI_JOB_MOUNT_ROOT/"
        )


def stdouterr_path(spec: JobSpec, identity: JobIdentity) -> str:
    """$AZ_BATCHAI_STDOUTERR_DIR."""
    return directory_path(spec.std_out_err_path_prefix, identity, STDOUTERR)


def output_paths(spec: JobSpec, identity: JobIdentity) -> dict[str, str]:
    """Output directory id → absolute path ($AZ_BATCHAI_OUTPUT_<id>)."""
    return {
        output.id: directory_path(output.path_prefix, identity, "outputs", output.path_suffix or "")
        for output in spec.output_directories or []
    }


def _mounts_read_only(server: FileServerReference) -> bool:
    return "ro" in option_words(server.mount_options)


def shared_path(spec: JobSpec, identity: JobIdentity, attempt: int) -> str | None:
    """Where the nodes of a job share a directory, if an Azure file share or a file server of the job can hold it.

    The mount of stdouterr if that is one, else the first one. A new attempt finds it empty. Blob containers are no
    place for it: other nodes see a file there when it is closed, and locks mean nothing. Nor are claims: what several
    nodes can do with one is not known here.
    """
    volumes = spec.mount_volumes
    servers = [server for server in (volumes.file_servers or []) if not _mounts_read_only(server)] if volumes else []
    shared: list[AzureFileShare | FileServerReference] = [*_shares(volumes), *servers]
    roots = [f"{identity.mount_root}/{mount.relative_mount_path.strip('/')}" for mount in shared if not mount.read_only]
    if not roots:
        return None
    logs = stdouterr_path(spec, identity)
    root = next((root for root in roots if logs.startswith(f"{root}/")), roots[0])
    return f"{root}/{identity.segment}/shared/{attempt}"


def _shares(volumes: MountVolumes | None) -> list[AzureFileShare]:
    return (volumes.azure_file_shares or []) if volumes else []


def share_of(azure_file_url: str) -> tuple[str, str]:
    """(host, share name) of `https://<account>.file.core.windows.net/<share>`.

    Raises SpecError if the URL names no share.
    """
    parts = urlsplit(azure_file_url)
    share = parts.path.strip("/")
    if not parts.hostname or not share or "/" in share:
        raise SpecError("azureFileUrl", f"'{azure_file_url}' is not https://<account>.file.core.windows.net/<share>")
    return parts.hostname, share


def file_account(account_name: str | None, azure_file_url: str) -> str:
    """A share's account: as given, else the first label of its host (reference §8)."""
    return account_name or share_of(azure_file_url)[0].split(".")[0]


def output_path(spec: JobSpec, identity: JobIdentity, directory_id: str) -> str:
    """The path of an output directory in the job's containers; "stdouterr" is the built-in one.

    Raises SpecError if the job has no such directory.
    """
    if directory_id == STDOUTERR:
        return stdouterr_path(spec, identity)
    outputs = output_paths(spec, identity)
    if directory_id not in outputs:
        known = ", ".join([*outputs, STDOUTERR])
        raise SpecError("outputDirectories", f"the job has no '{directory_id}'; it has {known}")
    return outputs[directory_id]


def output_location(
    spec: JobSpec, identity: JobIdentity, directory_id: str, cluster: ClusterSpec | None = None
) -> StorageLocation | None:
    """Where an output directory lies in Azure storage; None if it is on no share or container of job and cluster.

    Raises SpecError as `output_path` does.
    """
    path = output_path(spec, identity, directory_id)
    return _on_mount(path, f"{identity.mount_root}/", spec.mount_volumes) or _on_mount(
        path, f"{MOUNT_ROOT}/", cluster.shared_volumes if cluster else None
    )


def setup_task_path(spec: ClusterSpec, suffix: str) -> str:
    """The path of the output of a cluster's setup task; `suffix`: stdOutErrPathSuffix (reference §5.2).

    Raises SpecError if the cluster has no setup task.
    """
    if spec.node_setup is None or spec.node_setup.setup_task is None:
        raise SpecError("nodeSetup.setupTask", "the cluster has none, so there is no output of it")
    task = spec.node_setup.setup_task
    prefix = expand(task.std_out_err_path_prefix, {"AZ_BATCHAI_MOUNT_ROOT": MOUNT_ROOT}).rstrip("/")
    return f"{prefix}/{suffix}"


def setup_task_location(spec: ClusterSpec, suffix: str) -> StorageLocation | None:
    """Where that output lies in Azure storage; None if it is on no share or container of the cluster.

    Raises SpecError as `setup_task_path` does.
    """
    path = setup_task_path(spec, suffix)
    return _on_mount(path, f"{MOUNT_ROOT}/", spec.shared_volumes)


def _on_mount(path: str, root: str, volumes: MountVolumes | None) -> StorageLocation | None:
    if volumes is None or not path.startswith(root):
        return None
    below = path.removeprefix(root)

    def rest(mount: str) -> str | None:
        mount = mount.strip("/")
        return below.removeprefix(f"{mount}/") if below.startswith(f"{mount}/") else None

    for share in _shares(volumes):
        if (inside := rest(share.relative_mount_path)) is not None:
            host, name = share_of(share.azure_file_url)
            account = file_account(share.account_name, share.azure_file_url)
            return StorageLocation("file", account, name, inside, secret_name(share.credentials, account), host)
    for blob in volumes.azure_blob_file_systems or []:
        if (inside := rest(blob.relative_mount_path)) is not None:
            secret = secret_name(blob.credentials, blob.account_name)
            return StorageLocation("blob", blob.account_name, blob.container_name, inside, secret)
    return None


def secret_name(credentials: StorageCredentials | None, account: str) -> str:
    """The Secret that a mount uses: the one that its credentials name, else the account's default one."""
    if credentials is not None and credentials.secret_ref is not None:
        return credentials.secret_ref.name
    return default_secret_name(account)
