"""`job file list` and `stream` against an API and a storage in memory."""

import re
from typing import Any

import pytest
from tests.unit.cli.fakes import SUBSCRIPTION, FakeStorage, Terminal

from batchai.cli.kube import CLUSTERS, JOBS, SECRETS
from batchai.cli.problems import NotFound
from batchai.errors import KubeApiError, SpecError, StorageError
from batchai.plan.directories import StorageLocation
from batchai.storage.account import StorageAccount

PLACE = "-g ns -w w -e e"
SEGMENT = f"{SUBSCRIPTION}/ns/workspaces/w/experiments/e/jobs/j_1/uuid"


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def terminal(storage: FakeStorage) -> Terminal:
    terminal = Terminal(storage=storage, environ={"AZURE_BATCHAI_STORAGE_ACCOUNT": "acc"})
    terminal.environ["AZURE_BATCHAI_STORAGE_KEY"] = "a2V5"
    labels = {"batchai.dev/name": "j_1", "batchai.dev/workspace": "w", "batchai.dev/experiment": "e"}
    terminal.kube.put(
        JOBS,
        {
            "metadata": {"name": "j-1", "namespace": "ns", "labels": labels, "uid": "uuid"},
            "spec": {
                "experiment": "e",
                "cluster": "c",
                "nodeCount": 1,
                "customToolkitSettings": {"commandLine": "true"},
                "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
                "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/out"}],
                "mountVolumes": {
                    "azureFileShares": [
                        {
                            "azureFileUrl": "https://acc.file.core.windows.net/share",
                            "relativeMountPath": "logs",
                        }
                    ],
                    "azureBlobFileSystems": [
                        {"accountName": "acc", "containerName": "box", "relativeMountPath": "out"}
                    ],
                },
            },
            "status": {"executionState": "running", "jobOutputDirectoryPathSegment": SEGMENT},
        },
    )
    return terminal


def set_state(terminal: Terminal, state: str) -> None:
    terminal.kube.one(JOBS, "j-1")["status"]["executionState"] = state


def test_lists_files_and_folders(terminal: Terminal, storage: FakeStorage) -> None:
    storage.files = {"a b.dnn": b"1234", "deep/x": b""}
    assert terminal.run(f"job file list -j j_1 {PLACE} -d MODEL") == [
        {
            "contentLength": None,
            "downloadUrl": None,
            "fileType": "directory",
            "isDirectory": True,
            "lastModified": None,
            "name": "deep",
        },
        {
            "contentLength": 4,
            "downloadUrl": "https://acc.x/a b.dnn?se=04:04",
            "fileType": "file",
            "isDirectory": False,
            "lastModified": "2018-04-11T22:05:51+00:00",
            "name": "a b.dnn",
        },
    ]
    assert storage.opened == [
        (
            StorageLocation("blob", "acc", "box", f"{SEGMENT}/outputs", "batchai-storage-acc"),
            StorageAccount("acc", "a2V5"),
        )
    ]
    assert storage.closed
    [inner] = terminal.run(f"job file list -j j_1 {PLACE} -d MODEL -p deep --expiry 5")
    assert inner["downloadUrl"] == "https://acc.x/deep/x?se=03:09"
    table = terminal.run(f"job file list -j j_1 {PLACE} -d MODEL -o table").splitlines()
    assert table[0].split() == ["Name", "Type", "Size", "Modified"]


def test_a_job_that_wrote_nothing_has_no_files(terminal: Terminal) -> None:
    assert terminal.run(f"job file list -j j_1 {PLACE}") == []
    assert terminal.said == ["Nothing is there: the job is running."]
    with pytest.raises(StorageError, match="'no' does not exist"):
        terminal.run(f"job file list -j j_1 {PLACE} -p no")


def test_before_the_operator_saw_the_job_its_place_is_known(terminal: Terminal, storage: FakeStorage) -> None:
    del terminal.kube.one(JOBS, "j-1")["status"]["jobOutputDirectoryPathSegment"]
    terminal.run(f"job file list -j j_1 {PLACE}")
    assert storage.opened[0][0].path == f"{SEGMENT}/stdouterr"


def test_an_unknown_directory_is_answered_with_those_that_exist(terminal: Terminal) -> None:
    with pytest.raises(SpecError, match="no 'LOGS'; it has MODEL, stdouterr"):
        terminal.run(f"job file list -j j_1 {PLACE} -d LOGS")


@pytest.mark.parametrize("expiry", ["4", "601", "x"])
def test_expiry_has_bounds(terminal: Terminal, expiry: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        terminal.run(f"job file list -j j_1 {PLACE} --expiry {expiry}")
    assert "5 to 600 minutes" in capsys.readouterr().err


def script(terminal: Terminal, *steps: Any) -> None:
    """Plays one step in each pause of the command."""
    remaining = iter(steps)

    def play() -> None:
        next(remaining)()

    terminal.sleeping = play


def stream(terminal: Terminal, more: str = "-f stderr.txt") -> bytes:
    return terminal.run_raw(f"job file stream -j j_1 {PLACE} {more}")


def test_stream_follows_until_the_end(terminal: Terminal, storage: FakeStorage) -> None:
    def write(content: bytes, state: str = "running") -> Any:
        def step() -> None:
            storage.files["stderr.txt"] = content
            set_state(terminal, state)

        return step

    script(terminal, lambda: None, write(b"one\n\xff"), write(b"one\n\xfftwo", "succeeded"), lambda: None)
    assert stream(terminal) == b"one\n\xfftwo"
    assert terminal.said == [
        'The file "stderr.txt" not found. Waiting for the job to generate it.',
        'File found with URL "https://acc.x/stderr.txt?se=04:04". Start streaming',
    ]
    assert storage.opened[0][0] == StorageLocation(
        "file", "acc", "share", f"{SEGMENT}/stdouterr", "batchai-storage-acc", "acc.file.core.windows.net"
    )
    assert storage.closed


def test_stream_of_a_finished_job(terminal: Terminal, storage: FakeStorage) -> None:
    set_state(terminal, "failed")
    storage.files["sub/log"] = b"all"
    assert stream(terminal, "-f log -p sub") == b"all"


def test_stream_of_a_file_that_never_came(terminal: Terminal) -> None:
    set_state(terminal, "failed")
    failure = {"code": "AZFMountError", "message": "no share", "details": [{"name": "Info", "value": "x"}]}
    terminal.kube.one(JOBS, "j-1")["status"]["executionInfo"] = {"errors": [failure]}
    sentence = re.escape('The file "stderr.txt" not found for the completed job.')
    with pytest.raises(NotFound, match=sentence) as caught:
        stream(terminal)
    assert caught.value.hint == "AZFMountError: no share\n  Info: x"
    terminal.run(f"job file list -j j_1 {PLACE}")
    assert terminal.said[-2:] == ["AZFMountError: no share", "  Info: x"]


def test_stream_ends_with_a_deleted_job(terminal: Terminal, storage: FakeStorage) -> None:
    storage.files["stderr.txt"] = b"x"
    script(terminal, lambda: terminal.kube.objects.pop(("jobs", "ns", "j-1")))
    assert stream(terminal) == b"x"


def test_a_container_is_asked_again_after_the_end(terminal: Terminal, storage: FakeStorage) -> None:
    set_state(terminal, "succeeded")

    def late() -> None:
        storage.files["m.txt"] = b"late"

    script(terminal, lambda: None, late, *[lambda: None] * 9)
    assert stream(terminal, "-f m.txt -d MODEL") == b"late"


def test_outages_pass(terminal: Terminal, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.files["stderr.txt"] = b"x"
    find = terminal.kube.get
    fails = iter([None, KubeApiError(0, "Unreachable", "m"), KubeApiError(503, "", "m"), None, None])

    def get(*arguments: Any) -> Any:
        if arguments[0] == JOBS and (failure := next(fails, None)):
            raise failure
        return find(*arguments)

    monkeypatch.setattr(terminal.kube, "get", get)

    def outage() -> None:
        storage.outages = 2

    def end() -> None:
        storage.files["stderr.txt"] = b"xy"
        set_state(terminal, "succeeded")

    script(terminal, outage, end, *[lambda: None] * 9)
    assert stream(terminal) == b"xy"


def test_outages_that_do_not_pass(terminal: Terminal, storage: FakeStorage) -> None:
    storage.files["stderr.txt"] = b"x"

    def outage() -> None:
        storage.outages = 1000

    script(terminal, outage, *[lambda: None] * 99)
    with pytest.raises(StorageError, match="cannot be reached"):
        stream(terminal)
    assert 60 <= terminal.seconds < 65


def test_storage_that_never_answered_is_reported_at_once(terminal: Terminal, storage: FakeStorage) -> None:
    storage.outages = 1
    with pytest.raises(StorageError, match="cannot be reached"):
        stream(terminal)
    assert terminal.seconds == 0


def test_without_a_key_the_secret_is_named(terminal: Terminal) -> None:
    terminal.environ.clear()
    terminal.kube.forbidden.add(SECRETS)
    with pytest.raises(NotFound, match="Secret 'batchai-storage-acc' cannot be read"):
        stream(terminal)


def cluster_with_setup(terminal: Terminal, **setup: Any) -> None:
    labels = {"batchai.dev/name": "c", "batchai.dev/workspace": "w"}
    spec = {"workspace": "w", "vmSize": "STANDARD_NC6", "nodeSetup": setup}
    terminal.kube.put(
        CLUSTERS, {"metadata": {"name": "c", "namespace": "ns", "labels": labels, "uid": "uuid"}, "spec": spec}
    )


def test_files_of_a_setup_task(terminal: Terminal, storage: FakeStorage) -> None:
    task = {"commandLine": "true", "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/afs/logs/"}
    share = {"azureFileUrl": "https://acc.file.core.windows.net/share", "relativeMountPath": "afs"}
    cluster_with_setup(terminal, setupTask=task, mountVolumes={"azureFileShares": [share]})
    assert terminal.run("cluster file list -g ns -w w -c c") == []
    assert terminal.said == ["Nothing is there: no node has run the setup task yet."]
    assert storage.opened[0][0].path == f"logs/{SUBSCRIPTION}/ns/workspaces/w/clusters/c/uuid"
    suffix = {"stdOutErrPathSuffix": "as/the/operator/says"}
    terminal.kube.one(CLUSTERS, "c")["status"] = {"nodeSetup": {"setupTask": suffix}}
    shown = terminal.run("cluster show -g ns -w w -n c --query nodeSetup.setupTask.stdOutErrPathSuffix")
    assert shown == "as/the/operator/says"
    storage.files = {"stdout-a.txt": b"12", "more/x": b""}
    assert terminal.run("cluster file list -g ns -w w -c c -o table").splitlines() == [
        "Name          Is directory  Size",
        "------------  ------------  ----",
        "more          true",
        "stdout-a.txt  false         2",
    ]
    assert storage.opened[-1][0].path == "logs/as/the/operator/says"


def test_outputs_on_mounts_of_the_cluster(terminal: Terminal, storage: FakeStorage) -> None:
    storage.files = {"stdout.txt": b"x"}
    terminal.kube.one(JOBS, "j-1")["spec"]["stdOutErrPathPrefix"] = "$AZ_BATCHAI_MOUNT_ROOT/afs"
    with pytest.raises(
        SpecError, match=r"'stdouterr' lies at .*/mounts/afs/.* cluster 'c' mounted, and that was deleted"
    ):
        terminal.run(f"job file list -j j_1 {PLACE}")
    share = {"azureFileUrl": "https://acc.file.core.windows.net/everywhere", "relativeMountPath": "afs"}
    cluster_with_setup(terminal, mountVolumes={"azureFileShares": [share]})
    assert [file["name"] for file in terminal.run(f"job file list -j j_1 {PLACE}")] == ["stdout.txt"]
    assert (storage.opened[-1][0].container, storage.opened[-1][0].path) == ("everywhere", f"{SEGMENT}/stdouterr")


def test_clusters_whose_setup_leaves_no_files(terminal: Terminal) -> None:
    cluster_with_setup(terminal)
    with pytest.raises(SpecError, match="the cluster has none"):
        terminal.run("cluster file list -g ns -w w -c c")
    task = {"commandLine": "true", "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/afs"}
    cluster_with_setup(terminal, setupTask=task)
    with pytest.raises(SpecError, match=r"/mounts/afs/.* is not on a file system that the cluster mounts"):
        terminal.run("cluster file list -g ns -w w -c c")


def test_storage_that_says_when_to_ask_again_is_asked_then(
    terminal: Terminal, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"stdout.txt": b"x"}
    entries, refusals = (
        storage.entries,
        iter([StorageError("busy", retry_after=7), StorageError("busy", retry_after=3)]),
    )

    def busy(path: str) -> Any:
        if refusal := next(refusals, None):
            raise refusal
        return entries(path)

    monkeypatch.setattr(storage, "entries", busy)
    assert [file["name"] for file in terminal.run(f"job file list -j j_1 {PLACE}")] == ["stdout.txt"]
    assert terminal.seconds == 10


def test_a_credential_that_expires_ends_a_stream_at_once(
    terminal: Terminal, storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"stderr.txt": b"one"}

    def expire() -> None:
        denied = StorageError("storage account 'acc' does not accept the SAS token", denied=True)
        monkeypatch.setattr(storage, "find", lambda _: (_ for _ in ()).throw(denied))

    script(terminal, expire)
    with pytest.raises(StorageError, match="does not accept the SAS token"):
        stream(terminal)
    assert terminal.written.getvalue() == b"one"


def test_a_directory_of_100000_files(terminal: Terminal, storage: FakeStorage) -> None:
    storage.files = {f"{number:06}": b"" for number in range(100_000)}
    table = terminal.run_raw(f"job file list -j j_1 {PLACE} -o table")
    assert table.count(b"\n") == 100_002
