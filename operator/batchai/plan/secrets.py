"""The Secrets that a job refers to. Names and keys only: values never pass through the operator."""

from collections.abc import Sequence
from typing import Any

from batchai.api import names
from batchai.api.cluster import ClusterSpec
from batchai.api.job import EnvironmentSecret, JobSpec
from batchai.errors import SpecError
from batchai.plan.mounts import key_secret_names, secret_names

_KEY_OR_SAS = f"{names.SECRET_ACCOUNT_KEY} or {names.SECRET_ACCOUNT_SAS}"


def needed(spec: JobSpec, cluster: ClusterSpec) -> dict[str, tuple[str, ...]]:
    """Secret name → the keys that it must have, for a job on a cluster; a pull secret's keys are Kubernetes' own.

    Not those that a driver makes of a Key Vault: they come with the pods (plan/vaults.py).
    """
    shared = cluster.shared_volumes
    with_key = key_secret_names(shared) | key_secret_names(spec.mount_volumes)
    secrets: dict[str, tuple[str, ...]] = {
        name: (names.SECRET_ACCOUNT_NAME, names.SECRET_ACCOUNT_KEY if name in with_key else _KEY_OR_SAS)
        for name in (*secret_names(shared), *secret_names(spec.mount_volumes))
    }
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
    settings = spec.container_settings
    registry = settings.image_source_registry.credentials if settings else None
    if registry is not None and registry.secret_ref is None:
        raise SpecError(
            "spec.containerSettings.imageSourceRegistry.credentials",
            "an image is pulled with a Secret of type kubernetes.io/dockerconfigjson, which cannot be made from the "
            "password in a Key Vault: make that Secret and name it in secretRef",
        )


def check_task(entries: Sequence[EnvironmentSecret]) -> None:
    """Raises SpecError for a secret of a setup task that nothing would give a value."""
    for index, variable in enumerate(entries):
        if variable.value_from is None:
            field = f"spec.nodeSetup.setupTask.secrets[{index}]"
            raise SpecError(field, "names no Secret: setup tasks read Secrets of Kubernetes only, in valueFrom")
