"""The keys that commands print, against those that the service's own quickstart shows (data/quickstart-keys.json)."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.fakes import FakeStorage, Terminal

from batchai.cli.kube import CLUSTERS, JOBS

DATA = Path(__file__).parent / "data"
SHOWN = json.loads((DATA / "quickstart-keys.json").read_text())
PLACE = "-g ns -w quickstart -e quickstart"

OF_THE_SDK = {"additionalProperties"}
"""What an older version of az printed of itself."""
OF_WORKSPACES = {"location", "tags"}
"""What clusters had before there were workspaces; the quickstart's cluster is that old."""


def keys(value: Any, left_out: set[str] = OF_THE_SDK) -> Any:
    """The keys at every level; of a list those of its first entry."""
    if isinstance(value, list):
        return [keys(value[0], left_out)] if value else None
    if not isinstance(value, dict):
        return None
    return {name: keys(item, left_out) for name, item in value.items() if name not in left_out}


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("HOME", str(tmp_path))
    storage = FakeStorage()
    storage.files = {"ConvNet_MNIST_0.dnn": b"1"}
    terminal = Terminal(storage=storage, environ={"AZURE_BATCHAI_STORAGE_KEY": "a2V5"})
    terminal.run("workspace create -g ns -n quickstart")
    terminal.run("cluster create -n nc6 -g ns -w quickstart -s Standard_NC6 -i UbuntuDSVM -t 1 -u me")
    terminal.run("experiment create -g ns -w quickstart -n quickstart")
    job = DATA / "quickstart-job.json"
    terminal.run(f"job create -n cntk_python_1 -c nc6 {PLACE} -f {job} --storage-account-name acc")
    return terminal


def test_cluster(terminal: Terminal) -> None:
    terminal.kube.one(CLUSTERS, "nc6")["status"]["nodeStateCounts"] = {}
    printed = terminal.run("cluster show -n nc6 -g ns -w quickstart")
    assert keys(printed) == keys(SHOWN["cluster"], OF_THE_SDK | OF_WORKSPACES)


def test_job(terminal: Terminal) -> None:
    terminal.kube.one(JOBS, "cntk-python-1")["status"]["executionInfo"] = {"startTime": "2018-06-14T22:22:59Z"}
    assert keys(terminal.run(f"job show -n cntk_python_1 {PLACE}")) == keys(SHOWN["job"])


def test_files(terminal: Terminal) -> None:
    """The last version of the service said `fileType` where the quickstart's said `isDirectory`: here are both."""
    [file] = terminal.run(f"job file list -j cntk_python_1 {PLACE} -d MODEL")
    assert keys(file) == {**keys(SHOWN["file"]), "fileType": None}
