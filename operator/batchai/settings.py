"""What an installation can choose, read from the environment once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from batchai.plan.vaults import VaultIdentity


@dataclass(frozen=True)
class Settings:
    """The operator's settings.

    launcher_image: the image that the init container of every job copies the launcher from.
    default_images: settings field of a toolkit → image of jobs without containerSettings; "*" for the others.
    cluster_domain: the domain of Services' names. vault_identity: who reads Azure Key Vaults; None: nobody.
    namespace: where the operator runs and keeps its Lease. identity: this replica's name in the Lease.
    workers: reconciles at the same time. resync_seconds: how often everything that is not finished is looked
    at without a reason.
    """

    launcher_image: str
    default_images: Mapping[str, str]
    namespace: str
    identity: str
    cluster_domain: str = "cluster.local"
    vault_identity: VaultIdentity | None = None
    workers: int = 16
    resync_seconds: float = 600.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads BATCHAI_LAUNCHER_IMAGE, BATCHAI_DEFAULT_IMAGE, BATCHAI_DEFAULT_IMAGE_CNTK, POD_NAMESPACE, POD_NAME,
        and if they are there BATCHAI_CLUSTER_DOMAIN, BATCHAI_KEY_VAULT_TENANT_ID and BATCHAI_KEY_VAULT_CLIENT_ID.

        Raises KeyError naming the variable if one is missing.
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
        )
