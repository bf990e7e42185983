"""FileServer: a managed NFS server (Batch AI reference §1.3); reclaimPolicy is ours."""

from typing import Annotated, Literal

from pydantic import Field

from batchai.api.base import Model, ObjectMeta
from batchai.api.cluster import UserAccountSettings
from batchai.api.mounts import ResourceId
from batchai.api.schema import text
from batchai.api.workspace import ProvisioningStatus


class SshConfiguration(Model):
    """Who may log in to the server, and from where."""

    user_account_settings: UserAccountSettings = Field(
        description="Administrator of the server; without adminUserSshPublicKey nobody can log in."
    )
    public_ips_to_allow: (
        Annotated[
            list[Annotated[str, text(maximum=64)]],
            Field(max_length=400),
        ]
        | None
    ) = Field(
        default=None,
        alias="publicIPsToAllow",
        description="Addresses or ranges (203.0.113.0/24; '*' for all) that reach port 22 through a load balancer. "
        "Default: the server has an address in the cluster only.",
    )


class DataDisks(Model):
    """The server's storage."""

    disk_size_in_gb: Annotated[int, Field(ge=1, le=65536)] = Field(
        alias="diskSizeInGB", description="Size of each disk in GB."
    )
    disk_count: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Number of disks, joined into one volume: a claim of their sizes' sum."
    )
    storage_account_type: Literal["Standard_LRS", "Premium_LRS"] = Field(
        description="Kind of disks: the StorageClass that the operator's settings name for it."
    )
    caching_type: Literal["none", "readonly", "readwrite"] = Field(
        default="none", description="Caching of the disks; kept, a StorageClass decides. Default none."
    )


class FileServerSpec(Model):
    """How large the server is."""

    workspace: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="The Workspace in the same namespace that the server belongs to."
    )
    vm_size: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="VM size of the server, any; kept, it runs on any node with room."
    )
    ssh_configuration: SshConfiguration | None = Field(default=None, description="Who may log in.")
    data_disks: DataDisks = Field(description="The server's storage.")
    reclaim_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of the data when the FileServer is deleted. Retain: its claim stays, and the next "
        "FileServer of the name takes it up. Can be changed. Default Retain.",
    )
    subnet: ResourceId | None = Field(default=None, description="Subnet of the server; kept, not used.")


class MountSettings(Model):
    """Where the server is."""

    mount_point: str | None = Field(default=None, description="Path of the export.")
    file_server_public_ip: str | None = Field(default=None, alias="fileServerPublicIP", description="Public address.")
    file_server_internal_ip: str | None = Field(
        default=None, alias="fileServerInternalIP", description="Address in the cluster."
    )


class FileServerStatus(ProvisioningStatus):
    """What the operator observed."""

    mount_settings: MountSettings | None = Field(default=None, description="Where the server is.")


class FileServer(Model):
    """A managed NFS server."""

    metadata: ObjectMeta
    spec: FileServerSpec
    status: FileServerStatus = FileServerStatus()
