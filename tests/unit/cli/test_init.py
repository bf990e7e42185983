"""`batchai init`."""

import pytest
from tests.unit.cli.fakes import Terminal

from batchai.cli.kube import CSI_DRIVERS, NODES, SECRETS, STORAGE_CLASSES, WORKSPACES
from batchai.cli.problems import Problem, UsageProblem
from batchai.errors import KubeApiError


def results(findings: list[dict[str, str]]) -> dict[str, str]:
    return {each["name"]: each["result"] for each in findings}


def test_a_bare_cluster_is_told_what_it_lacks() -> None:
    terminal = Terminal()
    found = terminal.run("init -g new -w work -l eastus")
    assert results(found) == {
        "resourceGroup": "ok",
        "workspace": "ok",
        "storageAccount": "none",
        "vmSizes": "missing",
        "file.csi.azure.com": "missing",
        "blob.csi.azure.com": "missing",
        "storageClass": "missing",
    }
    assert terminal.kube.one(WORKSPACES, "work", "new")["spec"] == {"location": "eastus"}


def test_what_is_there_stays_and_is_counted() -> None:
    terminal = Terminal()
    for name in ("a", "b"):
        labels = {"node.kubernetes.io/instance-type": "Standard_NC6"}
        terminal.kube.put(NODES, {"metadata": {"name": name, "labels": labels}})
    for driver in ("file.csi.azure.com", "blob.csi.azure.com"):
        terminal.kube.put(CSI_DRIVERS, {"metadata": {"name": driver}})
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    terminal.kube.put(STORAGE_CLASSES, {"metadata": {"name": "slow"}})
    terminal.kube.put(STORAGE_CLASSES, {"metadata": {"name": "fast", "annotations": default}})
    command = "init -g ns -w work --storage-account-name acc"
    first = terminal.run(command, "--storage-account-key", "a2V5")
    assert set(results(first).values()) == {"ok"}
    messages = {each["name"]: each["message"] for each in first}
    assert messages["vmSizes"] == "Standard_NC6 (2)"
    assert messages["storageClass"].startswith("'fast' ")
    secret = terminal.kube.one(SECRETS, "batchai-storage-acc")
    again = terminal.run(command)
    assert results(again)["storageAccount"] == "missing"
    assert "storage add -g ns -n acc" in again[2]["message"]
    assert terminal.kube.one(SECRETS, "batchai-storage-acc") == secret
    table = terminal.run(command, "-o", "table").splitlines()
    assert table[0].split() == ["Name", "Result", "Message"]


def test_who_may_see_little_is_told_so() -> None:
    terminal = Terminal()
    terminal.kube.forbidden |= {NODES, CSI_DRIVERS, STORAGE_CLASSES}
    found = results(terminal.run("init -g ns -w work"))
    assert [name for name, result in found.items() if result == "unknown"] == [
        "vmSizes",
        "file.csi.azure.com",
        "blob.csi.azure.com",
        "storageClass",
    ]


def test_without_an_operator_it_says_so() -> None:
    terminal = Terminal()
    terminal.kube.after = lambda _kube, _item: None
    found = terminal.run("init -g ns -w work")
    assert results(found)["workspace"] == "missing"


def test_nothing_is_made_where_batch_ai_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()

    def unknown(*_: object) -> None:
        raise KubeApiError(404, "NotFound", "the server could not find the requested resource")

    monkeypatch.setattr(terminal.kube, "list", unknown)
    with pytest.raises(Problem, match="does not know Batch AI's resources"):
        terminal.run("init -g new -w work")
    assert ("namespaces", "", "new") not in terminal.kube.objects


def test_bad_names_are_refused_before_anything_is_made() -> None:
    terminal = Terminal()
    with pytest.raises(UsageProblem, match="'Acc' is no storage account"):
        terminal.run("init -g new -w work --storage-account-name Acc")
    with pytest.raises(UsageProblem, match="cannot name a namespace"):
        terminal.run("init -g batchai.quickstart -w work")
    assert ("namespaces", "", "new") not in terminal.kube.objects
