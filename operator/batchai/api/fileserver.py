"""FileServer: a managed NFS server (Batch AI reference §1.3)."""

from typing import Annotated, Literal

from pydantic import Field

from batchai.api.base import Model, ObjectMeta
from batchai.api.cluster import UserAccountSettings, VmSizeName
from batchai.api.mounts import ResourceId
from batchai.api.schema import text
from batchai.api.workspace import ProvisioningStatus


class SshConfiguration(Model):
    """Who may log in to the service's VM; kept, not used on Kubernetes."""

    user_account_settings: UserAccountSettings = Field(description="Administrator of the server.")
    public_ips_to_allow: Annotated[list[str], Field(max_length=400)] | None = Field(
        default=None, alias="publicIPsToAllow", description="Source address ranges. Default: all."
    )


class DataDisks(Model):
    """The server's storage."""

    disk_size_in_gb: Annotated[int, Field(ge=1, le=65536)] = Field(
        alias="diskSizeInGB", description="Size of each disk in GB."
    )
    disk_count: Annotated[int, Field(ge=1, le=64)] = Field(description="Number of disks, joined into one volume.")
    storage_account_type: Literal["Standard_LRS", "Premium_LRS"] = Field(description="Kind of disks.")
    caching_type: Literal["none", "readonly", "readwrite"] = Field(
        default="none", description="Caching of the disks. Default none."
    )


class FileServerSpec(Model):
    """How large the server is."""

    workspace: Annotated[str, text(maximum=63, minimum=1)] = Field(
        description="The Workspace in the same namespace that the server belongs to."
    )
    vm_size: VmSizeName = Field(description="VM size of the server.")
    ssh_configuration: SshConfiguration | None = Field(default=None, description="Who may log in.")
    data_disks: DataDisks = Field(description="The server's storage.")
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
