import json
from typing import Any

import pytest
from kubernetes.client import V1Pod
from tests.unit.builders import SUBSCRIPTION, UID, job

from batchai.api.cluster import ClusterSpec
from batchai.errors import SpecError
from batchai.plan.directories import JobIdentity
from batchai.plan.pods import Attempt, Images, check, job_pods
from batchai.plan.secrets import needed
from batchai.plan.vaults import VaultIdentity, VaultSecret, provider_classes, vault_secrets

IDENTITY = VaultIdentity(tenant="the-tenant", client="the-client")
CLUSTER = ClusterSpec.model_validate({"workspace": "w", "vmSize": "Standard_NC6"})
VERSION = "0123456789abcdef0123456789abcdef"


def reference(url: str, source: str = "akv") -> dict[str, Any]:
    group = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults"
    return {"sourceVault": {"id": f"{group}/{source}"}, "secretUrl": url}


def secret(variable: str, url: str, source: str = "akv") -> dict[str, Any]:
    return {"name": variable, "valueSecretReference": reference(url, source)}


HUB = secret("HUB_TOKEN", "https://akv.vault.azure.net/secrets/hub-token")
OLD = secret("OLD_TOKEN", f"https://akv.vault.azure.net/secrets/hub-token/{VERSION}")
OTHER = secret("KEY", "https://other.vault.azure.net/secrets/Key", "other")
PLAIN = {"name": "PLAIN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}}


def test_the_class_of_a_vault() -> None:
    labels = {"app.kubernetes.io/managed-by": "batchai", "batchai.dev/job": "train"}
    (made,) = provider_classes(job(secrets=[HUB, PLAIN, OLD]), IDENTITY)
    objects = made["spec"]["parameters"].pop("objects")
    assert made == {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {
            "name": "train-vault-akv-0b5f1f0e",
            "namespace": "ns",
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": "batchai.dev/v1alpha1",
                    "kind": "Job",
                    "name": "train",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "provider": "azure",
            "parameters": {"keyvaultName": "akv", "tenantID": "the-tenant", "clientID": "the-client"},
            "secretObjects": [
                {
                    "secretName": "train-vault-akv-0b5f1f0e",
                    "type": "Opaque",
                    "labels": labels,
                    "data": [
                        {"objectName": "HUB_TOKEN", "key": "HUB_TOKEN"},
                        {"objectName": "OLD_TOKEN", "key": "OLD_TOKEN"},
                    ],
                }
            ],
        },
    }
    same = {"objectType": "secret", "objectName": "hub-token"}
    assert [json.loads(item) for item in json.loads(objects)["array"]] == [
        {**same, "objectVersion": "", "objectAlias": "HUB_TOKEN"},
        {**same, "objectVersion": VERSION, "objectAlias": "OLD_TOKEN"},
    ]


def test_pods_make_the_driver_fetch_and_take_the_values_from_its_secrets() -> None:
    subject = job(secrets=[HUB, PLAIN, OTHER])
    attempt = Attempt(1, ("node-1",), gpus=0)
    identity = JobIdentity(SUBSCRIPTION, "ns", "w", "exp", "train", UID)
    (pod,) = job_pods(
        subject, identity, attempt, cluster=CLUSTER, images=Images("launcher:1", {"*": "base:1"}), mounts=()
    )
    V1Pod.model_validate(pod)
    classes = [made["metadata"]["name"] for made in provider_classes(subject, IDENTITY)]
    assert classes == ["train-vault-akv-0b5f1f0e", "train-vault-other-0b5f1f0e"]
    assert [volume for volume in pod["spec"]["volumes"] if volume["name"].startswith("vault-")] == [
        {
            "name": f"vault-{index}",
            "csi": {
                "driver": "secrets-store.csi.k8s.io",
                "readOnly": True,
                "volumeAttributes": {"secretProviderClass": name},
            },
        }
        for index, name in enumerate(classes)
    ]
    launcher, main = pod["spec"]["initContainers"][0], pod["spec"]["containers"][0]
    # The kubelet mounts a volume only if a container does.
    assert {"name": "vault-1", "mountPath": "/vault-1", "readOnly": True} in launcher["volumeMounts"]
    assert not [mount for mount in main["volumeMounts"] if mount["name"].startswith("vault-")]
    sources = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in main["env"] if "valueFrom" in item}
    assert sources == {
        "HUB_TOKEN": {"name": classes[0], "key": "HUB_TOKEN"},
        "PLAIN": {"name": "mine", "key": "k"},
        "KEY": {"name": classes[1], "key": "KEY"},
    }


def test_nothing_waits_for_a_secret_that_the_pods_bring() -> None:
    assert set(needed(job(secrets=[HUB, PLAIN]).spec, CLUSTER)) == {"batchai-storage-acc", "mine"}


def test_a_job_without_references_needs_no_class_and_no_identity() -> None:
    assert provider_classes(job(secrets=[PLAIN]), None) == []


@pytest.mark.parametrize(
    ("url", "vault", "name", "version"),
    [
        ("https://akv.vault.azure.net/secrets/a", "akv", "a", ""),
        ("https://akv.vault.azure.net:443/secrets/a-B/", "akv", "a-B", ""),
        ("https://My-Kv.vault.azure.net/secrets/a/12e34", "my-kv", "a", "12e34"),
    ],
)
def test_urls_of_secrets(url: str, vault: str, name: str, version: str) -> None:
    spec = job(secrets=[secret("X", url, vault.upper())]).spec
    assert vault_secrets(spec) == {vault: [VaultSecret("X", name, version)]}


@pytest.mark.parametrize(
    "url",
    [
        "http://akv.vault.azure.net/secrets/a",
        "https://akv.vault.azure.net/keys/a",
        "https://akv.vault.azure.net/secrets/",
        "https://akv.vault.azure.net/secrets/a/b/c",
        "https://akv.vault.example/secrets/a",
        "https://akv.vault.azure.net.example/secrets/a",
        "https://u:p@akv.vault.azure.net/secrets/a",
        "https://akv.vault.azure.net/secrets/a?x",
    ],
)
def test_urls_that_name_no_secret_are_refused(url: str) -> None:
    with pytest.raises(SpecError, match=r"secrets\[0\]\.valueSecretReference\.secretUrl"):
        provider_classes(job(secrets=[secret("X", url)]), IDENTITY)


REGISTRY = {"image": "r.example/x", "credentials": {"username": "u", "passwordSecretReference": reference("https://x")}}
MOUNT = {"relativeMountPath": "m", "credentials": {"accountKeySecretReference": reference("https://x")}}
SHARE = {"azureFileUrl": "https://acc.file.core.windows.net/s", **MOUNT}
CONTAINER = {"accountName": "acc", "containerName": "box", **MOUNT}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"secrets": [PLAIN, secret("X", HUB["valueSecretReference"]["secretUrl"], "axv")]},
            r"secrets\[1\].*'axv'.*'akv'",
        ),
        (
            {"mountVolumes": {"azureFileShares": [SHARE]}},
            r"azureFileShares\[0\].*accountKeySecretReference: .*secretRef",
        ),
        ({"mountVolumes": {"azureBlobFileSystems": [CONTAINER]}}, r"azureBlobFileSystems\[0\].*secretRef"),
        ({"containerSettings": {"imageSourceRegistry": REGISTRY}}, r"imageSourceRegistry\.credentials: .*secretRef"),
    ],
)
def test_what_a_vault_cannot_give_is_refused(spec: dict[str, Any], text: str) -> None:
    identity = JobIdentity(SUBSCRIPTION, "ns", "w", "exp", "train", UID)
    with pytest.raises(SpecError, match=text):
        check(job(**spec), identity, vault_identity=IDENTITY)


def test_without_an_identity_the_administrator_is_told_what_is_missing() -> None:
    with pytest.raises(SpecError, match="BATCHAI_KEY_VAULT_TENANT_ID and BATCHAI_KEY_VAULT_CLIENT_ID"):
        provider_classes(job(secrets=[HUB]), None)
