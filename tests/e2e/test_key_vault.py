"""Secrets in Azure Key Vaults: what a job says while something is missing, and that it gets the values in the end.

The CustomResourceDefinitions are those of the real driver, the driver is a stand-in (tests/azure/node/vaults.py).
"""

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.jobs import Cluster, Space, wait_until

from batchai.api.job import Job
from batchai.plan.vaults import VaultIdentity, provider_classes

DRIVER = "sigs.k8s.io/secrets-store-csi-driver@v1.6.0"
STAND_IN = Path(__file__).parents[1] / "azure/key-vault.yaml"
IDENTITY = VaultIdentity("00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b")
VERSION = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def identity(cluster: Cluster) -> Iterator[None]:
    """The operator knows who reads the vaults."""
    identity = {"BATCHAI_KEY_VAULT_TENANT_ID": IDENTITY.tenant, "BATCHAI_KEY_VAULT_CLIENT_ID": IDENTITY.client}
    with cluster.operator_settings(**identity):
        yield


@pytest.fixture(scope="module")
def definitions(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The driver's resources, from its Go module."""
    module = subprocess.run(
        ["go", "mod", "download", "-json", DRIVER],
        cwd=tmp_path_factory.mktemp("no-module"),
        check=True,
        capture_output=True,
        text=True,
    )
    folder = f"{json.loads(module.stdout)['Dir']}/config/crd/bases"
    cluster.kubectl("apply", "-f", folder)
    cluster.kubectl("wait", "--for=condition=Established", "-f", folder, "--timeout=60s")
    yield
    cluster.kubectl("delete", "-f", folder, "--timeout=60s")


@pytest.fixture(scope="module")
def driver(space: Space, definitions: None) -> Iterator[None]:
    """The driver works on every node."""
    space.cluster.kubectl("apply", "-f", str(STAND_IN))
    space.cluster.kubectl("rollout", "status", "daemonset/secrets-store", "-n", "azure", "--timeout=120s")
    yield
    # While there is a driver: it unmounts.
    space.cluster.kubectl("delete", "bjob", "--all", "-n", space.namespace, "--timeout=60s")
    wait_until(lambda: not space.cluster.list("pods", space.namespace), "the pods are gone")
    space.cluster.kubectl("delete", "-f", str(STAND_IN), "--timeout=60s")
    wait_until(lambda: not space.cluster.list("pods", "azure", "app=secrets-store"), "the driver is gone")


@pytest.fixture(scope="module")
def vault(cluster: Cluster) -> Iterator[str]:
    """The name of a vault with two secrets, one of them in an older version, too."""
    name = f"kv-{uuid.uuid4().hex[:8]}"
    values = {"hub-token": "now äöü\n$(x)", f"hub-token.{VERSION}": "then", "key": "k"}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": "azure"}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    yield name
    cluster.kubectl("delete", "secret", name, "-n", "azure")


def secret(variable: str, vault: str, path: str) -> dict[str, Any]:
    source = {"id": f"/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/{vault}"}
    url = f"https://{vault}.vault.azure.net/secrets/{path}"
    return {"name": variable, "valueSecretReference": {"sourceVault": source, "secretUrl": url}}


def _error(space: Space, name: str) -> dict[str, Any]:
    error: dict[str, Any] = space.finished(name)["status"]["executionInfo"]["errors"][0]
    return error


def _started(space: Space, name: str) -> dict[str, Any]:
    """The condition that says why a job has not started."""
    conditions = space.job(name).get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Started"), {})


def test_without_an_identity_the_job_says_what_the_operator_lacks(space: Space) -> None:
    space.submit("nobody", "true", secrets=[secret("X", "some-vault", "x")])
    error = _error(space, "nobody")
    assert error["code"] == "InvalidJob"
    assert "BATCHAI_KEY_VAULT_TENANT_ID and BATCHAI_KEY_VAULT_CLIENT_ID" in error["message"]


def test_without_the_drivers_resources_the_job_says_what_the_cluster_lacks(space: Space, identity: None) -> None:
    space.submit("no-driver", "true", secrets=[secret("X", "some-vault", "x")])
    error = _error(space, "no-driver")
    assert error["code"] == "KeyVaultDriverMissing"
    assert "install the Secrets Store CSI driver with the Azure provider" in error["message"]
    assert space.pods("no-driver") == []


def test_the_class_is_valid_for_the_drivers_own_schema(space: Space, definitions: None) -> None:
    manifest = space.manifest("planned", "true", secrets=[secret("A", "one-vault", "a"), secret("B", "two-vault", "b")])
    manifest["metadata"]["uid"] = str(uuid.uuid4())
    for planned in provider_classes(Job.model_validate(manifest), IDENTITY):
        text = json.dumps(planned)
        made = space.cluster.kubectl(
            "create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", data=text
        )
        assert json.loads(made)["spec"] == planned["spec"]
        wrong = json.dumps({**planned, "spec": {**planned["spec"], "tenant": "x"}})
        assert not space.cluster.kubectl(
            "create", "--dry-run=server", "--validate=strict", "-f", "-", data=wrong, check=False
        )


def test_a_job_waits_for_the_driver_and_then_has_the_values(
    space: Space, identity: None, definitions: None, vault: str, request: pytest.FixtureRequest
) -> None:
    variables = [secret("NOW", vault, "hub-token"), secret("THEN", vault, f"hub-token/{VERSION}")]
    space.submit("reads", 'printf %s "$NOW|$THEN"; ls / >&2', secrets=variables)
    wait_until(lambda: _started(space, "reads").get("reason") == "StorageDriverMissing", "the driver is missed")
    assert "secrets-store.csi.k8s.io" in _started(space, "reads")["message"]
    job = space.job("reads")
    assert job["status"]["executionState"] == "running"
    (pod,) = space.pods("reads")
    (source,) = (volume["csi"] for volume in pod["spec"]["volumes"] if volume["name"] == "vault-0")
    name = source["volumeAttributes"]["secretProviderClass"]
    made = space.cluster.get("secretproviderclass", name, space.namespace)
    assert made["spec"] == provider_classes(Job.model_validate(job), IDENTITY)[0]["spec"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    request.getfixturevalue("driver")
    # The kubelet's pauses between its tries have grown meanwhile.
    wait_until(lambda: space.state("reads") in {"succeeded", "failed"}, "the job ends", seconds=200)
    assert space.state("reads") == "succeeded", json.dumps(space.job("reads")["status"], indent=1)
    assert space.read_output("reads", "stdouterr/stdout.txt").decode() == "now äöü\n$(x)|then"
    assert b"vault" not in space.read_output("reads", "stdouterr/stderr.txt")
    kept = space.cluster.get("secret", name, space.namespace)
    assert kept["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert base64.b64encode(b"then").decode() not in space.cluster.kubectl(
        "get", "bjob,pods,events,secretproviderclasses", "-n", space.namespace, "-o", "yaml"
    )


def test_a_second_attempt_has_the_values_too(space: Space, identity: None, driver: None, vault: str) -> None:
    command = '[ -e $AZ_BATCHAI_OUTPUT_MODEL/first ] && exec echo "$X"; touch $AZ_BATCHAI_OUTPUT_MODEL/first; sleep 600'
    space.submit("twice", command, secrets=[secret("X", vault, "key")])
    space.wait_until(lambda: space.try_read_output("twice", "outputs/first") is not None, "the first attempt works")
    space.cluster.kubectl("delete", "pod", "twice-1-0", "-n", space.namespace, "--grace-period=0", "--force")
    status = space.finished("twice")["status"]
    assert (status["executionState"], status["attempt"]) == ("succeeded", 2)
    assert space.read_output("twice", "stdouterr/stdout.txt") == b"k\n"


def test_a_secret_that_the_vault_lacks_fails_the_job_with_the_drivers_text(
    space: Space, identity: None, driver: None, vault: str
) -> None:
    space.submit("lacks", "true", secrets=[secret("X", vault, "no-such")])
    error = _error(space, "lacks")
    assert error["code"] == "KeyVaultError"
    assert "objectName:no-such" in json.dumps(error["details"])
