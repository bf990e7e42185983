import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.fakes import SUBSCRIPTION, Terminal

from batchai.cli.kube import FILE_SERVERS
from batchai.cli.problems import NotFound, UsageProblem

CREATE = "file-server create -g ns -w w -n Nfs_1 -u me"
SIZE = "-s Standard_D2_v2 --disk-count 2 --disk-size 10 --storage-sku Standard_LRS"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("HOME", str(tmp_path))
    terminal = Terminal()
    terminal.run("workspace create -g ns -n w")
    return terminal


def test_file_server_life(terminal: Terminal) -> None:
    made = terminal.run(f"{CREATE} {SIZE}")
    assert made == {
        "creationTime": "2026-01-02T03:04:05+00:00",
        "dataDisks": {
            "cachingType": "none",
            "diskCount": 2,
            "diskSizeInGb": 10,
            "storageAccountType": "Standard_LRS",
        },
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ns/providers/Microsoft.BatchAI/workspaces/w"
        "/fileservers/Nfs_1",
        "mountSettings": None,
        "name": "Nfs_1",
        "provisioningState": "succeeded",
        "provisioningStateTransitionTime": None,
        "resourceGroup": "ns",
        "sshConfiguration": {
            "publicIpsToAllow": None,
            "userAccountSettings": {
                "adminUserName": "me",
                "adminUserPassword": None,
                "adminUserSshPublicKey": None,
            },
        },
        "subnet": None,
        "type": "Microsoft.BatchAI/workspaces/fileservers",
        "vmSize": "STANDARD_D2_V2",
    }
    mount = {"mountPoint": "/data", "fileServerPublicIP": "1.2.3.4", "fileServerInternalIP": "10.0.0.1"}
    terminal.kube.one(FILE_SERVERS, "nfs-1")["status"]["mountSettings"] = mount
    shown = terminal.run("file-server show -g ns -w w -n Nfs_1")["mountSettings"]
    assert shown == {"mountPoint": "/data", "fileServerPublicIp": "1.2.3.4", "fileServerInternalIp": "10.0.0.1"}
    row = terminal.run("file-server list -g ns -w w -o table").splitlines()[2]
    assert row.split() == ["Nfs_1", "ns", "STANDARD_D2_V2", "2", "x", "10", "Gb", "1.2.3.4", "10.0.0.1", "/data"]
    assert terminal.run("file-server delete -g ns -w w -n Nfs_1 -y") == ""
    with pytest.raises(NotFound) as caught:
        terminal.run("file-server show -g ns -w w -n Nfs_1")
    assert caught.value.hint == "`kubectl batchai file-server list` shows those that do."


def test_file_server_of_a_file_under_options(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "nfs.json"
    disks = {"diskSizeInGB": 1, "diskCount": 1, "storageAccountType": "Premium_LRS", "cachingType": "readonly"}
    account = {"adminUserName": "you", "adminUserPassword": "hush"}
    settings = {"userAccountSettings": account, "publicIPsToAllow": ["10.0.0.0/8"]}
    properties = {"vmSize": "Standard_DS1", "dataDisks": disks, "sshConfiguration": settings, "more": 1}
    path.write_text(json.dumps({"properties": properties}))
    terminal.run(f"{CREATE} -f {path} --disk-count 4 -s Standard_D2_v2")
    spec = terminal.kube.one(FILE_SERVERS, "nfs-1")["spec"]
    assert spec["dataDisks"] == {**disks, "diskCount": 4}
    assert spec["sshConfiguration"] == {
        "userAccountSettings": {"adminUserName": "me"},
        "publicIPsToAllow": ["10.0.0.0/8"],
    }
    assert terminal.said == [
        f"WARNING: {path}: ignored, as unknown: properties.more.",
        "WARNING: the administrator's password is not kept: nodes of Kubernetes get no accounts.",
    ]


@pytest.mark.parametrize(
    ("left_out", "sentence"),
    [
        ("-s Standard_D2_v2", "the file server has no vmSize"),
        ("--disk-count 2", "the file server has no dataDisks.diskCount"),
        ("--disk-size 10", "the file server has no dataDisks.diskSizeInGB"),
        ("--storage-sku Standard_LRS", "the file server has no dataDisks.storageAccountType"),
    ],
)
def test_file_servers_that_lack_something(terminal: Terminal, left_out: str, sentence: str) -> None:
    with pytest.raises(UsageProblem, match=sentence):
        terminal.run(f"{CREATE} {SIZE.replace(left_out, '')}")


@pytest.mark.parametrize(
    ("field", "value"),
    [("sshConfiguration", "me"), ("dataDisks", [])],
)
def test_a_file_of_another_shape_is_refused(terminal: Terminal, tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"properties": {field: value}}))
    with pytest.raises(UsageProblem, match=rf"properties\.{field}: is no object"):
        terminal.run(f"file-server create -n nfs -g ns -w quickstart -s Standard_D2 -f {path}")


def test_a_user_without_a_name_is_asked_for_one(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", unknown)
    with pytest.raises(UsageProblem, match="does not know the name of its user"):
        terminal.run(f"{CREATE.removesuffix(' -u me')} {SIZE}")
