"""`job submit` against an API and a storage in memory."""

import json
import os
from pathlib import Path

import pytest
from tests.unit.cli.fakes import FakeStorage, Terminal

from batchai.api import names
from batchai.cli import folder
from batchai.cli.kube import JOBS, SECRETS
from batchai.cli.problems import Problem, UsageProblem

PLACE = "-c nc6 -g ns -w w -e e --storage-account-name acc"


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def terminal(storage: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    terminal = Terminal(storage=storage, environ={"AZURE_BATCHAI_STORAGE_KEY": "a2V5"})
    terminal.run("workspace create -g ns -n w")
    terminal.run("cluster create -n nc6 -g ns -w w -s Standard_NC6 -t 1")
    terminal.run("experiment create -g ns -w w -n e")
    return terminal


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "code"
    for name, text in {"train.py": "print()", "lib/a.py": "", ".git/HEAD": "x", "lib/__pycache__/a.pyc": "x"}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def test_a_folder_and_a_command(terminal: Terminal, storage: FakeStorage, code: Path) -> None:
    made = terminal.run(
        f"job submit {code} -n j_1 {PLACE} --afs-name share --image python:3 --node-count 2",
        "--command=python train.py; echo",
    )
    marker = folder.read(code).marker
    root = storage.files[marker].decode()
    assert root.startswith(f"{marker.removesuffix('.complete')}-")
    assert storage.files == {f"{root}/train.py": b"print()", f"{root}/lib/a.py": b"", marker: root.encode()}
    location, account = storage.opened[0]
    assert (location.kind, location.container, location.path, account.key) == ("file", "share", "", "a2V5")
    mounts = "$AZ_BATCHAI_JOB_MOUNT_ROOT/afs"
    assert made["inputDirectories"] == [{"id": "CODE", "path": f"{mounts}/{root}"}]
    spec = terminal.kube.one(JOBS, "j-1")["spec"]
    command = 'cd "$AZ_BATCHAI_INPUT_CODE" || exit; python train.py; echo'
    assert spec["customToolkitSettings"] == {"commandLine": command}
    assert (spec["nodeCount"], spec["stdOutErrPathPrefix"]) == (2, mounts)
    assert spec["containerSettings"]["imageSourceRegistry"]["image"] == "python:3"
    assert terminal.said == [f"Uploaded 2 files as {root}."]


def test_the_same_content_is_uploaded_once(terminal: Terminal, storage: FakeStorage, code: Path) -> None:
    submit = f"job submit {code} {PLACE} --bfs-name box --command true"
    terminal.run(f"{submit} -n a")
    marker = folder.read(code).marker
    storage.files |= {path: b"kept" for path in storage.files if path != marker}
    before = dict(storage.files)
    made = terminal.run(f"{submit} -n b")
    assert storage.files == before
    assert made["inputDirectories"][0]["path"].endswith(before[marker].decode())
    assert "is in storage already" in terminal.said[-1]
    assert storage.opened[-1][0].kind == "blob"
    (code / "train.py").write_text("other")
    terminal.run(f"{submit} -n c")
    assert {content for path, content in storage.files.items() if path.endswith("train.py")} == {b"kept", b"other"}


def test_one_that_is_being_uploaded_is_left_alone(terminal: Terminal, storage: FakeStorage, code: Path) -> None:
    submit = f"job submit {code} {PLACE} --afs-name share --command true"
    first = terminal.run(f"{submit} -n a")["inputDirectories"][0]["path"]
    marker = storage.files.pop(folder.read(code).marker)  # as if the first had not come to its end
    second = terminal.run(f"{submit} -n b")["inputDirectories"][0]["path"]
    assert marker.decode() in first
    assert first != second


def test_the_folders_own_job_file(terminal: Terminal, storage: FakeStorage, code: Path) -> None:
    share = {"azureFileUrl": "https://<YOUR_STORAGE_ACCOUNT>.file.core.windows.net/share", "relativeMountPath": "logs"}
    properties = {
        "nodeCount": 1,
        "customToolkitSettings": {"commandLine": "python $AZ_BATCHAI_INPUT_CODE/train.py"},
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "inputDirectories": [{"id": "CODE", "path": "old"}, {"id": "DATA", "path": "data"}],
        "mountVolumes": {"azureFileShares": [share]},
    }
    (code / "job.json").write_text(json.dumps({"properties": properties}))
    made = terminal.run(f"job submit {code} -n j {PLACE}")
    marker = folder.read(code, code / "job.json").marker
    path = f"$AZ_BATCHAI_JOB_MOUNT_ROOT/logs/{storage.files[marker].decode()}"
    assert not any(name.endswith("job.json") for name in storage.files), "it may hold keys"
    assert made["inputDirectories"] == [{"id": "DATA", "path": "data"}, {"id": "CODE", "path": path}]


def test_a_job_that_cannot_be_uploads_nothing(terminal: Terminal, storage: FakeStorage, code: Path) -> None:
    submit = f"job submit {code} {PLACE}"
    for arguments, sentence in (
        (f"{submit} -n j --afs-name share", "there is no .*job.json that says what to run"),
        (f"{submit} -n j --command true", "the job mounts no share to which its folder could go"),
        (f"{submit} -n j --command true -f x.json", "both say what to run"),
        (f"{submit} -n j --command true --afs-name share --node-count 0", "nodeCount"),
        (submit.replace(str(code), f"{code}/none") + " -n j --command true", "is no folder"),
        (submit.replace(str(code), f"{code}/.git") + " -n j --command true", "the job mounts no share"),
    ):
        with pytest.raises(UsageProblem, match=sentence):
            terminal.run(arguments)
    terminal.run(f"{submit} -n j --command true --afs-name share")
    storage.files.clear()
    with pytest.raises(Problem, match="job 'j' already exists"):
        terminal.run(f"{submit} -n j --command true --afs-name share")
    assert storage.files == {}


def test_a_folder_is_known_by_its_content(tmp_path: Path, code: Path) -> None:
    other = tmp_path / "other"
    (other / "lib").mkdir(parents=True)
    (other / "train.py").write_text("print()")
    (other / "lib/a.py").write_text("")
    assert folder.read(other).digest == folder.read(code).digest
    (other / "lib/a.py").rename(other / "a.py")
    assert folder.read(other).digest != folder.read(code).digest
    (tmp_path / "empty/.git").mkdir(parents=True)
    with pytest.raises(UsageProblem, match="has no files"):
        folder.read(tmp_path / "empty")


def test_a_name_that_storage_cannot_have(terminal: Terminal, code: Path) -> None:
    Path(os.fsdecode(os.fsencode(code) + b"/caf\xe9.py")).write_text("")
    with pytest.raises(UsageProblem, match="no name in UTF-8"):
        terminal.run(f"job submit {code} {PLACE} -n j --command true --afs-name share")


def test_the_folder_goes_there_with_the_secret_of_the_job(terminal: Terminal, storage: FakeStorage, code: Path) -> None:
    labels = {names.LABEL_STORAGE_ACCOUNT: "acc"}
    data = {"azurestorageaccountname": "YWNj", "azurestorageaccountkey": "b3duZXI="}
    secret = {"metadata": {"name": "own", "namespace": "ns", "labels": labels}, "data": data}
    terminal.kube.create(SECRETS, "ns", secret)
    terminal.environ.clear()
    terminal.run(f"job submit {code} {PLACE} -n j --command true --afs-name share")
    assert storage.opened[0][1].key == "owner"
