"""What an installation can choose, read from the environment once at start."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from batchai.errors import SpecError
from batchai.plan.mounts import PUBLIC_SUFFIX, Endpoints
from batchai.plan.vaults import VaultIdentity


@dataclass(frozen=True)
class Settings:
    """The operator's settings.

    launcher_image: the image that the init container of every job copies the launcher from.
    default_images: settings field of a toolkit → image of jobs without containerSettings; "*" for the others.
    vm_images: offer of a Cluster's VM image, in lower case → what goes before default_images on that Cluster.
    cluster_domain: the domain of Services' names. vault_identity: who reads Azure Key Vaults; None: nobody.
    endpoints: where storage accounts are that are not in Azure's public cloud.
    placeholder_image: an image that does nothing, of the pods that ask an autoscaler for nodes.
    file_server_image: the NFS server of FileServers. file_server_storage_classes: storageAccountType → StorageClass
    of its claim; the default class for those that are not there.
    mount_command_namespaces: where mount commands of unmanagedFileSystems may run, as root of the node.
    mount_command_image: what they run in; the launcher's unless set.
    clusters_per_namespace: how many Clusters a namespace may have, None for any number.
    namespace: where the operator runs and keeps its Lease. identity: this replica's name in the Lease.
    health_port: where probes ask. metrics_port: where Prometheus does.
    workers: reconciles at the same time. resync_seconds: how often everything that is not finished is looked
    at without a reason. log_format: json or text.
    """

    launcher_image: str
    default_images: Mapping[str, str]
    namespace: str
    identity: str
    cluster_domain: str = "cluster.local"
    vault_identity: VaultIdentity | None = None
    vm_images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    endpoints: Endpoints = field(default_factory=Endpoints)
    placeholder_image: str = "registry.k8s.io/pause:3.10"
    file_server_image: str = "batchai/file-server:0.1.0"
    file_server_storage_classes: Mapping[str, str] = field(default_factory=dict)
    mount_command_namespaces: frozenset[str] = frozenset()
    mount_command_image: str | None = None
    clusters_per_namespace: int | None = None
    health_port: int = 8080
    metrics_port: int = 8081
    workers: int = 32
    resync_seconds: float = 600.0
    log_format: str = "text"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads BATCHAI_LAUNCHER_IMAGE, BATCHAI_DEFAULT_IMAGE, BATCHAI_DEFAULT_IMAGE_CNTK, POD_NAMESPACE, POD_NAME,
        and if they are there BATCHAI_CLUSTER_DOMAIN, BATCHAI_KEY_VAULT_TENANT_ID, BATCHAI_KEY_VAULT_CLIENT_ID,
        BATCHAI_STORAGE_ENDPOINT_SUFFIX, BATCHAI_STORAGE_SERVERS, BATCHAI_VM_IMAGES, BATCHAI_PLACEHOLDER_IMAGE,
        BATCHAI_FILE_SERVER_IMAGE, BATCHAI_FILE_SERVER_STORAGE_CLASSES, BATCHAI_CLUSTERS_PER_NAMESPACE,
        BATCHAI_MOUNT_COMMAND_NAMESPACES, BATCHAI_MOUNT_COMMAND_IMAGE, BATCHAI_LOG_FORMAT,
        BATCHAI_HEALTH_PORT and BATCHAI_METRICS_PORT.

        Raises KeyError naming the variable if one is missing, SpecError if one cannot be read.
        """
        tenant = environment.get("BATCHAI_KEY_VAULT_TENANT_ID")
        client = environment.get("BATCHAI_KEY_VAULT_CLIENT_ID")
        return cls(
            launcher_image=environment["BATCHAI_LAUNCHER_IMAGE"],
            default_images={
                "cntkSettings": environment["BATCHAI_DEFAULT_IMAGE_CNTK"],
                "*": environment["BATCHAI_DEFAULT_IMAGE"],
            },
            namespace=environment["POD_NAMESPACE"],
            identity=environment["POD_NAME"],
            cluster_domain=environment.get("BATCHAI_CLUSTER_DOMAIN", cls.cluster_domain),
            vault_identity=VaultIdentity(tenant, client) if tenant and client else None,
            endpoints=_endpoints(environment),
            placeholder_image=environment.get("BATCHAI_PLACEHOLDER_IMAGE", cls.placeholder_image),
            file_server_image=environment.get("BATCHAI_FILE_SERVER_IMAGE", cls.file_server_image),
            file_server_storage_classes=_storage_classes("BATCHAI_FILE_SERVER_STORAGE_CLASSES", environment),
            mount_command_namespaces=frozenset(
                environment.get("BATCHAI_MOUNT_COMMAND_NAMESPACES", "").replace(",", " ").split()
            ),
            mount_command_image=environment.get("BATCHAI_MOUNT_COMMAND_IMAGE") or None,
            clusters_per_namespace=_number("BATCHAI_CLUSTERS_PER_NAMESPACE", environment),
            vm_images=_vm_images("BATCHAI_VM_IMAGES", environment),
            log_format=environment.get("BATCHAI_LOG_FORMAT", cls.log_format),
            health_port=_number("BATCHAI_HEALTH_PORT", environment) or cls.health_port,
            metrics_port=_number("BATCHAI_METRICS_PORT", environment) or cls.metrics_port,
        )

    def mount_command_image_of(self, namespace: str) -> str | None:
        """What the mount commands of a namespace run in; None if they may not run."""
        if namespace not in self.mount_command_namespaces:
            return None
        return self.mount_command_image or self.launcher_image


@dataclass(frozen=True)
class AgentSettings:
    """The node health agent's settings.

    node: the node that it runs on. probe_seconds: the rest between two looks at the GPUs. deadline_seconds: how long
    the driver may take; opening it takes seconds for each GPU where no persistence daemon runs.
    """

    node: str
    probe_seconds: float = 15.0
    deadline_seconds: float = 60.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "AgentSettings":
        """Reads NODE_NAME, and BATCHAI_PROBE_SECONDS and BATCHAI_PROBE_DEADLINE_SECONDS if they are there.

        Raises KeyError naming the variable if it is missing.
        """
        return cls(
            node=environment["NODE_NAME"],
            probe_seconds=float(environment.get("BATCHAI_PROBE_SECONDS", cls.probe_seconds)),
            deadline_seconds=float(environment.get("BATCHAI_PROBE_DEADLINE_SECONDS", cls.deadline_seconds)),
        )


def _number(name: str, environment: Mapping[str, str]) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise SpecError(name, f"'{text}' is not a number")
    return int(text)


def _vm_images(name: str, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    try:
        images = json.loads(environment.get(name) or "{}")
        return {offer.lower(): {**toolkits} for offer, toolkits in images.items()}
    except (ValueError, AttributeError, TypeError):
        raise SpecError(
            name, 'must be JSON such as {"linux-data-science-vm-ubuntu": {"cntkSettings": "<image>", "*": "<image>"}}'
        ) from None


def _endpoints(environment: Mapping[str, str]) -> Endpoints:
    suffix = environment.get("BATCHAI_STORAGE_ENDPOINT_SUFFIX") or PUBLIC_SUFFIX
    name = "BATCHAI_STORAGE_SERVERS"
    try:
        servers = {**json.loads(environment.get(name) or "{}")}
        found = {
            kind: {account: of[kind] for account, of in servers.items() if kind in of} for kind in ("file", "blob")
        }
        unknown = {kind for of in servers.values() for kind in of} - found.keys()
    except (ValueError, AttributeError, TypeError):
        unknown = {""}
    if unknown:
        raise SpecError(name, 'must be JSON such as {"<account>": {"file": "<host>", "blob": "<host or URL>"}}')
    return Endpoints(suffix, found["file"], found["blob"])


def _storage_classes(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    try:
        classes = json.loads(environment.get(name) or "{}")
        return {str(kind): str(storage_class) for kind, storage_class in classes.items()}
    except (ValueError, AttributeError):
        raise SpecError(name, 'must be JSON such as {"Premium_LRS": "<StorageClass>"}') from None
