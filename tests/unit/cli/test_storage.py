"""`storage`, SAS tokens of jobs, and auto storage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.fakes import FakeKube, Terminal

from batchai.cli.kube import CLAIMS, CLUSTERS, JOBS, SECRETS
from batchai.cli.problems import NotFound, UsageProblem


@pytest.fixture
def terminal() -> Terminal:
    terminal = Terminal()
    terminal.run("workspace create -g ns -n w")
    terminal.run("experiment create -g ns -w w -n e")
    return terminal


def test_the_life_of_an_account(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "hush")
    shown = {
        "credential": "key",
        "name": "acc",
        "resourceGroup": "ns",
        "secret": "batchai-storage-acc",
    }
    assert terminal.run("storage add -g ns -n acc") == shown
    assert len(asked) == 1
    assert terminal.run("storage add -g ns -n acc --storage-account-sas sv=1") == {**shown, "credential": "sas"}
    terminal.kube.put(SECRETS, {"metadata": {"name": "another", "namespace": "ns"}})
    assert terminal.run("storage list -g ns") == [{**shown, "credential": "sas"}]
    terminal.run("storage remove -g ns -n acc -y")
    assert terminal.run("storage list -g ns") == []
    assert terminal.kube.one(SECRETS, "another")
    with pytest.raises(NotFound, match="'acc' is not kept in 'ns'"):
        terminal.run("storage remove -g ns -n acc -y")


def no_terminal(_prompt: str) -> str:
    raise EOFError


@pytest.mark.parametrize("answer", [lambda _: "", no_terminal])
def test_no_account_without_a_key(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], str]
) -> None:
    monkeypatch.setattr("getpass.getpass", answer)
    with pytest.raises(UsageProblem, match="there is no key"):
        terminal.run("storage add -g ns -n acc")
    with pytest.raises(UsageProblem, match="'Acc_1' is no storage account"):
        terminal.run("storage add -g ns -n Acc_1")


def job_file(folder: Path, **volumes: object) -> Path:
    properties = {
        "nodeCount": 1,
        "customToolkitSettings": {"commandLine": "true"},
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data",
        "mountVolumes": volumes,
    }
    path = folder / "job.json"
    path.write_text(json.dumps({"properties": properties}))
    return path


def test_a_job_on_a_token(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run("cluster create -n c -g ns -w w -s Standard_NC6 -t 1")
    blob = {
        "accountName": "<AZURE_BATCHAI_STORAGE_ACCOUNT>",
        "containerName": "data",
        "relativeMountPath": "data",
        "credentials": {"accountKey": "<AZURE_BATCHAI_STORAGE_KEY>"},
    }
    create = "job create -g ns -w w -e e -c c --storage-account-name acc --storage-account-sas sv=1 -n"
    terminal.run(f"{create} j -f {job_file(tmp_path, azureBlobFileSystems=[blob])}")
    (mount,) = terminal.kube.one(JOBS, "j")["spec"]["mountVolumes"]["azureBlobFileSystems"]
    assert mount["credentials"] == {"secretRef": {"name": "batchai-storage-acc"}}
    assert "azurestorageaccountsastoken" in terminal.kube.one(SECRETS, "batchai-storage-acc")["data"]
    share = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "data"}
    with pytest.raises(UsageProblem, match=r"azureFileShares\[0\]: storage account 'acc' has a SAS token only"):
        terminal.run(f"{create} k -f {job_file(tmp_path, azureFileShares=[share])}")


def test_auto_storage_is_made_once(terminal: Terminal) -> None:
    create = "cluster create -g ns -w w -s Standard_NC6 -t 1 --use-auto-storage -n"
    terminal.run(f"{create} first --auto-storage-class files")
    terminal.run(f"{create} second --bfs-name data --storage-account-name acc --storage-account-key k")
    assert terminal.said[-1] == "Claim 'batchaicontainer' is there already: the cluster gets that one."
    for claim in terminal.kube.list(CLAIMS, "ns"):
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        assert claim["spec"]["storageClassName"] == "files"
    for name in ("first", "second"):
        volumes = terminal.kube.one(CLUSTERS, name)["spec"]["nodeSetup"]["mountVolumes"]
        assert volumes["persistentVolumeClaims"] == [
            {"claimName": "batchaishare", "relativeMountPath": "autoafs"},
            {"claimName": "batchaicontainer", "relativeMountPath": "autobfs"},
        ]


def test_auto_storage_is_that_of_the_default_class_unless_one_is_named() -> None:
    terminal = Terminal(FakeKube())
    terminal.run("workspace create -g ns -n w")
    terminal.run("cluster create -g ns -w w -n c -s Standard_NC6 -t 1 --use-auto-storage")
    assert all("storageClassName" not in claim["spec"] for claim in terminal.kube.list(CLAIMS, "ns"))


def test_a_file_server_is_that_of_the_workspace_unless_an_id_names_it(terminal: Terminal) -> None:
    create = "cluster create -g ns -w w -s Standard_NC6 -t 1"
    other = "/subscriptions/s/resourceGroups/ns/providers/Microsoft.BatchAI/workspaces/v/fileservers/nfs"
    terminal.run(f"{create} -n own --nfs nfs")
    terminal.run(f"{create} -n other --nfs {other}")
    for name, wanted in (("own", "workspaces/w/fileServers/nfs"), ("other", other)):
        (mount,) = terminal.kube.one(CLUSTERS, name)["spec"]["nodeSetup"]["mountVolumes"]["fileServers"]
        assert mount["fileServer"]["id"] == wanted
