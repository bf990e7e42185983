"""Secrets in Azure Key Vaults: what the Secrets Store CSI driver is told, and what pods need of it.

For each vault of a job a SecretProviderClass says what to fetch. Its volume in a pod makes the driver fetch that and
keep it in a Secret of the same name, which the job's variables refer to. Values never pass through here.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from batchai.api.job import Job, JobSpec
from batchai.errors import SpecError
from batchai.plan.naming import vault_name
from batchai.plan.peers import metadata

DRIVER = "secrets-store.csi.k8s.io"
VAULT_VOLUME = "vault"

_SECRET_URL = re.compile(
    r"https://(?P<vault>[a-z][a-z0-9-]{1,22}[a-z0-9])\.vault\.azure\.net(:443)?"
    r"/secrets/(?P<name>[a-z0-9-]{1,127})(/(?P<version>[a-z0-9]+))?/?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class VaultIdentity:
    """Who reads the vaults: the client id of a workload identity, and the tenant of it and of the vaults."""

    tenant: str
    client: str


@dataclass(frozen=True)
class VaultSecret:
    """A secret of a vault and the job's variable that gets its value. version: empty for the current one."""

    variable: str
    name: str
    version: str


def vault_secrets(spec: JobSpec) -> dict[str, list[VaultSecret]]:
    """Vault → the secrets that the job reads from it. Raises SpecError for references that name none."""
    found: dict[str, list[VaultSecret]] = {}
    for index, variable in enumerate(spec.secrets or []):
        reference = variable.value_secret_reference
        if variable.value_from is not None or reference is None:
            continue
        field = f"spec.secrets[{index}].valueSecretReference"
        match = _SECRET_URL.fullmatch(reference.secret_url)
        if match is None:
            raise SpecError(
                f"{field}.secretUrl",
                f"'{reference.secret_url}' is not https://<vault>.vault.azure.net/secrets/<name>[/<version>]",
            )
        vault = match["vault"].lower()
        source = reference.source_vault.id.rstrip("/").rpartition("/")[2]
        if source.lower() != vault:
            raise SpecError(
                f"{field}.sourceVault.id", f"names the vault '{source}', but secretUrl is of '{vault}': name one vault"
            )
        found.setdefault(vault, []).append(VaultSecret(variable.name, match["name"], match["version"] or ""))
    return found


def provider_classes(job: Job, identity: VaultIdentity | None) -> list[dict[str, Any]]:
    """The job's SecretProviderClasses, one per vault.

    identity: None where the operator was given none. Raises SpecError for what cannot be read.
    """
    vaults = vault_secrets(job.spec)
    if not vaults:
        return []
    if identity is None:
        raise SpecError(
            "spec.secrets[].valueSecretReference",
            "no Key Vault can be read until the operator is given BATCHAI_KEY_VAULT_TENANT_ID and "
            "BATCHAI_KEY_VAULT_CLIENT_ID: ask its administrator, or put the value into a Secret and name it in "
            "valueFrom",
        )
    return [_provider_class(job, vault, secrets, identity) for vault, secrets in vaults.items()]


def variables(job: Job) -> list[dict[str, Any]]:
    """The variables whose values come from vaults as a container's env entries."""
    return [
        {"name": secret.variable, "valueFrom": {"secretKeyRef": {"name": _name(job, vault), "key": secret.variable}}}
        for vault, secrets in vault_secrets(job.spec).items()
        for secret in secrets
    ]


def volumes(job: Job) -> list[dict[str, Any]]:
    """The volumes of a pod that make the driver fetch; the kubelet mounts them only if a container does."""
    return [
        {
            "name": f"{VAULT_VOLUME}-{index}",
            "csi": {
                "driver": DRIVER,
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": _name(job, vault)},
            },
        }
        for index, vault in enumerate(vault_secrets(job.spec))
    ]


def _name(job: Job, vault: str) -> str:
    return vault_name(job.metadata.name, job.metadata.uid, vault)


def _provider_class(job: Job, vault: str, secrets: list[VaultSecret], identity: VaultIdentity) -> dict[str, Any]:
    """A variable's name is the name of its file and of its key: one secret may be fetched in several versions."""
    description = metadata(job, _name(job, vault))
    objects = [
        {
            "objectType": "secret",
            "objectName": secret.name,
            "objectVersion": secret.version,
            "objectAlias": secret.variable,
        }
        for secret in secrets
    ]
    return {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": description,
        "spec": {
            "provider": "azure",
            "parameters": {
                "keyvaultName": vault,
                "tenantID": identity.tenant,
                "clientID": identity.client,
                # The provider reads YAML with YAML in it; JSON is some, and quotes what looks like a number.
                "objects": json.dumps({"array": [json.dumps(item) for item in objects]}),
            },
            "secretObjects": [
                {
                    "secretName": description["name"],
                    "type": "Opaque",
                    "labels": description["labels"],
                    "data": [{"objectName": secret.variable, "key": secret.variable} for secret in secrets],
                }
            ],
        },
    }
