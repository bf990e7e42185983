from typing import Any

import pytest

from batchai.errors import DependencyNotReady
from batchai.plan.exports import export_of


def server(name: str, azure_name: str, address: str, workspace: str = "w", state: str = "succeeded") -> dict[str, Any]:
    labels = {"batchai.dev/name": azure_name, "batchai.dev/workspace": workspace}
    return {
        "metadata": {"name": name, "namespace": "ns", "labels": labels},
        "spec": {
            "workspace": workspace,
            "vmSize": "STANDARD_D2",
            "dataDisks": {"diskCount": 1, "diskSizeInGB": 1, "storageAccountType": "Standard_LRS"},
        },
        "status": {
            "provisioningState": state,
            "mountSettings": {"mountPoint": "/data", "fileServerInternalIP": address},
        },
    }


SERVERS = [server("nfs", "NFS", "10.0.0.1"), server("nfs-919c97", "nfs", "10.0.0.2"), server("o", "o", "10.0.0.3", "v")]


def test_an_id_names_file_servers_as_azure_does_and_a_manifest_as_kubernetes_does() -> None:
    def address(identifier: str) -> str:
        return export_of(SERVERS, "ns", identifier).server

    assert address("nfs") == "10.0.0.1"
    assert address("/subscriptions/s/workspaces/w/fileservers/nfs") == "10.0.0.2"
    assert address("/subscriptions/s/workspaces/w/fileservers/NFS") == "10.0.0.1"
    assert address("workspaces/v/fileservers/o") == "10.0.0.3"


def test_what_is_not_there_yet() -> None:
    with pytest.raises(DependencyNotReady, match="does not exist in workspace 'w'"):
        export_of(SERVERS, "ns", "workspaces/w/fileservers/o")
    with pytest.raises(DependencyNotReady, match="it is creating"):
        export_of([server("nfs", "nfs", "10.0.0.1", state="creating")], "ns", "nfs")
