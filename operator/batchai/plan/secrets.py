"""The Secrets that a job refers to. Names and keys only: values never pass through the operator."""

from collections.abc import Sequence
from typing import Any

from batchai.api import names
from batchai.api.cluster import ClusterSpec
from batchai.api.job import EnvironmentSecret, JobSpec
from batchai.api.mounts import MountVolumes
from batchai.errors import SpecError
from batchai.plan.mounts import secret_names


def needed(spec: JobSpec, cluster: ClusterSpec) -> dict[str, tuple[str, ...]]:
    """Secret name → the keys that it must have, for a job on a cluster; a pull secret's keys are Kubernetes' own.

    Not those that a driver makes of a Key Vault: they come with the pods (plan/vaults.py).
    """
    shared = cluster.node_setup.mount_volumes if cluster.node_setup else None
    secrets: dict[str, tuple[str, ...]] = dict.fromkeys(
        (*secret_names(shared), *secret_names(spec.mount_volumes)),
        (names.SECRET_ACCOUNT_NAME, names.SECRET_ACCOUNT_KEY),
    )
    for variable in spec.secrets or []:
        if variable.value_from is not None:
            reference = variable.value_from.secret_key_ref
            secrets[reference.name] = (*secrets.get(reference.name, ()), reference.key)
    if (pull := pull_secret(spec)) is not None:
        secrets[pull] = (".dockerconfigjson",)
    return secrets


def pull_secret(spec: JobSpec) -> str | None:
    """The Secret of the job's private registry, if it names one."""
    if spec.container_settings is None:
        return None
    credentials = spec.container_settings.image_source_registry.credentials
    return credentials.secret_ref.name if credentials and credentials.secret_ref else None


def variables(entries: Sequence[EnvironmentSecret] | None) -> list[dict[str, Any]]:
    """The variables whose values are in Secrets as a container's env entries; the kubelet reads the values."""
    return [
        {"name": variable.name, "valueFrom": {"secretKeyRef": {"name": source.name, "key": source.key}}}
        for variable in entries or []
        if variable.value_from is not None and (source := variable.value_from.secret_key_ref)
    ]


def check(spec: JobSpec) -> None:
    """Raises SpecError for a secret that has no source, and for a source that does not serve its purpose."""
    for index, variable in enumerate(spec.secrets or []):
        if variable.value_from is None and variable.value_secret_reference is None:
            raise SpecError(
                f"spec.secrets[{index}]",
                "has no value: name a Secret in valueFrom or a vault's in valueSecretReference",
            )
    volumes = spec.mount_volumes or MountVolumes()
    for name, mounts in (
        ("azureFileShares", [share.credentials for share in volumes.azure_file_shares or []]),
        ("azureBlobFileSystems", [blob.credentials for blob in volumes.azure_blob_file_systems or []]),
    ):
        for index, credentials in enumerate(mounts):
            if credentials and credentials.account_key_secret_reference and not credentials.secret_ref:
                # For inline volumes Azure's drivers take the account from the Secret alone.
                raise SpecError(
                    f"spec.mountVolumes.{name}[{index}].credentials.accountKeySecretReference",
                    "a mount's Secret has the account's name beside the key, and a Key Vault has the key alone: put "
                    "both into a Secret and name it in credentials.secretRef",
                )
    settings = spec.container_settings
    registry = settings.image_source_registry.credentials if settings else None
    if registry is not None and registry.secret_ref is None:
        raise SpecError(
            "spec.containerSettings.imageSourceRegistry.credentials",
            "an image is pulled with a Secret of type kubernetes.io/dockerconfigjson, which cannot be made from the "
            "password in a Key Vault: make that Secret and name it in secretRef",
        )
