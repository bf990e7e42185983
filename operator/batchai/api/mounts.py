"""mountVolumes: the file systems of a job or of a cluster's nodes (Batch AI reference §6.4)."""

from typing import Annotated

from pydantic import Field

from batchai.api.base import Model
from batchai.api.schema import Rule, text

RelativePath = Annotated[
    str,
    text(maximum=255, minimum=1),
    Rule(
        "!self.startsWith('/') && !self.split('/').exists(part, part == '..' || part == '.' || part == '')",
        "relativeMountPath must be a relative path without empty, '.' or '..' parts, such as 'logs' or 'data/mnist'",
    ),
]
Mode = Annotated[str, text(pattern="^0?[0-7]{3}$", maximum=4)]
AccountName = Annotated[str, text(maximum=64)]


class ResourceId(Model):
    """A reference to a resource by its Azure id."""

    id: Annotated[str, text(maximum=1024)] = Field(description="The Azure resource id.")


class SecretReference(Model):
    """A reference to a Secret in the same namespace."""

    name: Annotated[str, text(maximum=253, minimum=1)] = Field(description="Name of the Secret.")


class KeyVaultSecretReference(Model):
    """A secret in an Azure Key Vault."""

    source_vault: ResourceId = Field(description="The Key Vault that holds the secret.")
    secret_url: Annotated[str, text(maximum=1024)] = Field(description="URL of the secret in the vault.")


class WorkloadIdentity(Model):
    """A Microsoft Entra identity that trusts the service account `default` of the namespace; nothing is secret."""

    client_id: Annotated[str, text(maximum=64, minimum=1)] = Field(description="Client id of the identity.")
    tenant_id: Annotated[str, text(maximum=64, minimum=1)] | None = Field(
        default=None, description="Its tenant. Default: the one that the Kubernetes cluster is in."
    )


class StorageCredentials(Model):
    """Who may mount. Values never stand here: they live in a Secret of the namespace."""

    secret_ref: SecretReference | None = Field(
        default=None,
        description="Secret with azurestorageaccountname and azurestorageaccountkey (for Blob also "
        "azurestorageaccountsastoken), as the Azure CSI drivers read it.",
    )
    account_key: (
        Annotated[
            str,
            text(maximum=1024),
            Rule(
                "false",
                "accountKey may not stand in a resource: put the key into a Secret and name it in secretRef, or let "
                "'kubectl batchai' do that",
            ),
        ]
        | None
    ) = Field(default=None, description="Refused: a key does not belong into a resource. Use secretRef.")
    account_key_secret_reference: KeyVaultSecretReference | None = Field(
        default=None, description="The account's key in an Azure Key Vault."
    )
    workload_identity: WorkloadIdentity | None = Field(
        default=None, description="Mounts with an identity instead of a Secret."
    )


Credentials = Annotated[
    StorageCredentials,
    Rule(
        "!(has(self.secretRef) && has(self.workloadIdentity))",
        "credentials must have either secretRef or workloadIdentity",
    ),
    Rule(
        "!has(self.accountKeySecretReference) || has(self.secretRef) || has(self.workloadIdentity)",
        "accountKeySecretReference is not enough: a mount's Secret has the account's name beside the key, and a Key "
        "Vault has the key alone: put both into a Secret and name it in secretRef",
    ),
]
ReadOnly = Annotated[bool, Field(description="Mounts it read-only. Default false.")]


class AzureFileShare(Model):
    """An Azure Files share, mounted over SMB."""

    account_name: AccountName | None = Field(
        default=None, description="Storage account. Default: the first label of azureFileUrl's host."
    )
    azure_file_url: Annotated[
        str,
        text(maximum=1024),
        Rule(
            "self.matches('^https://[a-z0-9.-]+/[a-z0-9](-?[a-z0-9])+/?$')",
            "azureFileUrl must name one share, as https://<account>.file.core.windows.net/<share>",
        ),
    ] = Field(description="https://<account>.file.core.windows.net/<share>.")
    credentials: Credentials | None = Field(
        default=None, description="Default: the Secret batchai-storage-<account> of the namespace."
    )
    relative_mount_path: RelativePath = Field(description="Where to mount, below the mount root.")
    file_mode: Mode = Field(default="0777", description="Permissions of files, octal. Default 0777.")
    directory_mode: Mode = Field(default="0777", description="Permissions of directories, octal. Default 0777.")
    read_only: ReadOnly = False


class AzureBlobFileSystem(Model):
    """An Azure Blob container, mounted by blobfuse 2."""

    account_name: AccountName = Field(description="Storage account of the container.")
    container_name: Annotated[
        str,
        text(maximum=63),
        Rule(
            "self.matches('^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$')",
            "containerName must have 3 to 63 lower-case letters, digits and '-', and begin and end with no '-'",
        ),
    ] = Field(description="Name of the container.")
    credentials: Credentials | None = Field(
        default=None, description="Default: the Secret batchai-storage-<account> of the namespace."
    )
    relative_mount_path: RelativePath = Field(description="Where to mount, below the mount root.")
    mount_options: Annotated[str, text(maximum=2048)] | None = Field(
        default=None, description="blobfuse options; those of blobfuse 1 are translated."
    )
    read_only: ReadOnly = False


class FileServerReference(Model):
    """A FileServer, mounted over NFS."""

    file_server: ResourceId = Field(description="The FileServer: its name, or its Azure resource id.")
    source_directory: Annotated[str, text(maximum=1024)] | None = Field(
        default=None, description="Directory of the server to mount. Default: its whole export."
    )
    relative_mount_path: RelativePath = Field(description="Where to mount, below the mount root.")
    mount_options: Annotated[str, text(maximum=2048)] | None = Field(
        default=None, description="NFS mount options, separated by commas."
    )
    read_only: ReadOnly = False


class UnmanagedFileSystem(Model):
    """A file system that the user's own command mounts."""

    mount_command: Annotated[str, text(maximum=4096)] = Field(
        description="mount -t nfs [-o OPTIONS] HOST:/PATH, or nfs4; any other where the operator allows it. "
        "The mount path is appended to it."
    )
    relative_mount_path: RelativePath = Field(description="Where to mount, below the mount root.")


class PersistentVolumeClaimMount(Model):
    """A PersistentVolumeClaim of the namespace; Batch AI had nothing like it."""

    claim_name: Annotated[str, text(maximum=253, minimum=1)] = Field(description="Name of the claim.")
    sub_path: (
        Annotated[
            str,
            text(maximum=1024, minimum=1),
            Rule(
                "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
                "subPath must be a relative path without '..' parts, such as 'mnist/train'",
            ),
        ]
        | None
    ) = Field(default=None, description="Directory of the claim to mount, made if it is missing. Default: all of it.")
    relative_mount_path: RelativePath = Field(description="Where to mount, below the mount root.")
    read_only: ReadOnly = False


_LISTS = (
    "azureFileShares",
    "azureBlobFileSystems",
    "fileServers",
    "unmanagedFileSystems",
    "persistentVolumeClaims",
)
_PATHS = " + ".join(f"(has(self.{name}) ? self.{name}.map(m, m.relativeMountPath) : [])" for name in _LISTS)


class MountVolumes(Model):
    """The file systems to mount, by kind."""

    azure_file_shares: Annotated[list[AzureFileShare], Field(max_length=16)] | None = Field(
        default=None, description="Azure Files shares."
    )
    azure_blob_file_systems: Annotated[list[AzureBlobFileSystem], Field(max_length=16)] | None = Field(
        default=None, description="Azure Blob containers."
    )
    file_servers: Annotated[list[FileServerReference], Field(max_length=16)] | None = Field(
        default=None, description="FileServers."
    )
    unmanaged_file_systems: Annotated[list[UnmanagedFileSystem], Field(max_length=16)] | None = Field(
        default=None, description="File systems with a mount command of their own."
    )
    persistent_volume_claims: Annotated[list[PersistentVolumeClaimMount], Field(max_length=16)] | None = Field(
        default=None, description="PersistentVolumeClaims of the namespace."
    )


MOUNT_VOLUMES_RULE = Rule(
    f"({_PATHS}).all(a, ({_PATHS}).filter(b, a == b || a.startsWith(b + '/')).size() == 1)",
    "every relativeMountPath must be different and none may lie inside another",
)


def default_secret_name(account: str) -> str:
    """The Secret that a mount uses when it names none."""
    return f"batchai-storage-{account}"
