"""The cluster that KUBECONFIG names, its storage account, and a space of its own for each module."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.jobs import Cluster, Space, Storage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if "KUBECONFIG" not in os.environ:
        pytest.fail(
            "KUBECONFIG does not name the test cluster: run 'make e2e', or export KUBECONFIG=$(make -s kubeconfig)"
        )
    return Cluster()


@pytest.fixture(scope="session")
def storage() -> Storage:
    exports = subprocess.run([ROOT / "tests/azure/storage-env.sh"], check=True, capture_output=True, text=True).stdout
    values = dict(line.removeprefix("export ").split("=", 1) for line in exports.splitlines())
    return Storage(
        account=values["AZURE_BATCHAI_STORAGE_ACCOUNT"],
        key=values["AZURE_BATCHAI_STORAGE_KEY"],
        connection=values["AZURE_STORAGE_CONNECTION_STRING"].strip("'"),
    )


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder with MNIST in CNTK's text format."""
    data = Path(os.environ.get("BATCHAI_CACHE", Path.home() / ".cache" / "batchai"), "mnist")
    subprocess.run([ROOT / "quickstart/data.sh", data], check=True)
    return data


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make()
    yield space
    space.remove()
