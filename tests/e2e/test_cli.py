"""`batchai` as a user types it, against the real cluster and its storage."""

import json
import os
import pty
import re
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.jobs import IMAGE, Cluster, Storage

LINES = 12_000

# Jobs wait for nodes that other modules give back.
pytestmark = pytest.mark.timeout(300)

# The form of the quickstart's job.json, with a command in the place of CNTK.
JOB = """{
    "$schema": "https://raw.githubusercontent.com/Azure/BatchAI/master/schemas/2018-03-01/custom.json",
    "comment": "placeholders are filled in by the command line",
    "properties": {
        "nodeCount": 1,
        "customToolkitSettings": {"commandLine": %s},
        "containerSettings": {"imageSourceRegistry": {"image": "%s"}},
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
        "mountVolumes": {
            "azureFileShares": [{
                "azureFileUrl": "https://<YOUR_STORAGE_ACCOUNT>.file.core.windows.net/%s",
                "relativeMountPath": "logs"
            }],
            "azureBlobFileSystems": [{
                "accountName": "<AZURE_BATCHAI_STORAGE_ACCOUNT>",
                "containerName": "%s",
                "relativeMountPath": "data"
            }]
        }
    }
}"""


@dataclass
class Cli:
    """Runs commands in the resource group `group`, whose share and container have its name."""

    group: str
    folder: Path
    environ: dict[str, str]
    cluster: Cluster

    @property
    def place(self) -> list[str]:
        return ["-g", self.group, "-w", "Work_Space", "-e", "exp"]

    def start(self, words: str, *more: str, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command; only its first argument comes apart at spaces."""
        command = [sys.executable, "-m", "batchai.cli", *words.split(), *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, env=self.environ, **{**pipes, **options})

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """stdout and stderr of a command that exits with `code`."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=180)
        assert process.returncode == code, err.decode()
        return out.decode(), err.decode()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments)[0])

    def submit(self, name: str, command: str, *more: str) -> Any:
        path = self.folder / f"{name}.json"
        path.write_text(JOB % (json.dumps(command), IMAGE, self.group, self.group))
        return self.json("job", "create", "-n", name, "-c", "nc6", *self.place, "-f", str(path), *more)


@pytest.fixture(scope="module")
def cli(cluster: Cluster, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    home = tmp_path_factory.mktemp("home")
    environ = {
        **os.environ,
        "HOME": str(home),
        "AZURE_BATCHAI_STORAGE_ACCOUNT": storage.account,
        "AZURE_BATCHAI_STORAGE_KEY": storage.key,
        "AZURE_STORAGE_CONNECTION_STRING": storage.connection,
    }
    cli = Cli(f"cli-{uuid.uuid4().hex[:8]}", home, environ, cluster)
    with storage.files as shares, storage.blobs as blobs:
        shares.create_share(cli.group)
        blobs.create_container(cli.group)
        cli.run(f"group create -n {cli.group} -l eastus")
        cli.run(f"workspace create -g {cli.group} -n Work_Space")
        cli.run(f"cluster create -n nc6 -g {cli.group} -w Work_Space -s Standard_NC6 -t 1")
        cli.run(f"experiment create -g {cli.group} -w Work_Space -n exp")
        yield cli
        cli.run(f"group delete -n {cli.group} -y")
        shares.delete_share(cli.group)
        blobs.delete_container(cli.group)


def test_workspaces(cli: Cli) -> None:
    shown = cli.json("workspace show -g", cli.group, "-n", "Work_Space")
    assert shown["provisioningState"] == "succeeded"
    assert shown["location"] == "eastus"
    names = cli.run("workspace list -g", cli.group, "--query", "[].name", "-o", "tsv")[0]
    assert names == "Work_Space\n"
    _, err = cli.run("workspace create -g", cli.group, "-n", "Work_Space", code=1)
    assert "already exists" in err
    table = cli.run("workspace list -g", cli.group, "-o", "table")[0].splitlines()
    assert table[0].split("  ")[0] == "Name"
    assert table[2].split() == ["Work_Space", cli.group, "eastus", "succeeded"]


def test_clusters(cli: Cli) -> None:
    place = ["-g", cli.group, "-w", "Work_Space"]
    made = cli.json("cluster create -n second -s Standard_NC6 --min 0 --max 0", *place)
    assert made["scaleSettings"]["manual"]["targetNodeCount"] == 0
    assert made["provisioningState"] == "succeeded"
    assert cli.json("cluster list", *place, "--query", "[].vmSize") == ["STANDARD_NC6"] * 2
    cli.run("cluster delete -n second", *place, "--yes")
    _, err = cli.run("cluster show -n second", *place, code=3)
    assert err.startswith("ERROR: cluster 'second' does not exist in workspace 'Work_Space'")


def test_deleting_an_experiment_deletes_its_jobs(cli: Cli) -> None:
    place = ["-g", cli.group, "-w", "Work_Space"]
    cli.run("experiment create -n gone", *place)
    path = cli.folder / "gone.json"
    path.write_text(JOB % ('"true"', IMAGE, cli.group, cli.group))
    job = ["job create -n numbers -c nc6", *place, "-e", "gone", "-f", str(path)]
    assert "/experiments/gone/jobs/numbers" in cli.json(*job)["id"]
    cli.run("experiment delete -n gone", *place, "-y")
    assert cli.cluster.list("jobs.batchai.dev", cli.group, "batchai.dev/experiment=gone") == []


def test_confirmation_is_asked_for_and_heard(cli: Cli) -> None:
    place = ["-n", "asked", "-g", cli.group, "-w", "Work_Space"]
    cli.run("experiment create", *place)
    _, err = cli.run("experiment delete", *place, code=1)
    assert "--yes" in err
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        primary, secondary = pty.openpty()
        os.write(primary, answer)
        with cli.start("experiment delete", *place, stdin=secondary) as process:
            _, said = process.communicate(timeout=120)
        os.close(primary)
        os.close(secondary)
        assert process.returncode == code
        assert b"Are you sure you want to perform this operation? (y/n): " in said
    cli.run("experiment show", *place, code=3)


def test_a_job_from_its_file_to_its_downloaded_model(cli: Cli) -> None:
    made = cli.submit(
        "From_File",
        'mkdir -p $AZ_BATCHAI_OUTPUT_MODEL/deep; printf "%s" "$WORD" > "$AZ_BATCHAI_OUTPUT_MODEL/my model.dnn"',
        "--env=WORD=wörd",
    )
    account = cli.environ["AZURE_BATCHAI_STORAGE_ACCOUNT"]
    [share] = made["mountVolumes"]["azureFileShares"]
    assert share["azureFileUrl"] == f"https://{account}.file.core.windows.net/{cli.group}"
    assert made["toolType"] == "custom"
    waited = cli.run("job wait -n From_File", *cli.place, "--interval", "1")[1]
    assert "Job state: succeeded" in waited
    shown = cli.json("job show -n From_File", *cli.place)
    assert shown["executionInfo"]["exitCode"] == 0
    segment = cli.json("job show -n From_File", *cli.place, "--query", "jobOutputDirectoryPathSegment")
    assert re.fullmatch(
        rf"[0-9a-f-]{{36}}/{cli.group}/workspaces/Work_Space/experiments/exp/jobs/From_File/[0-9a-f-]{{36}}",
        segment,
    )
    folder, model = cli.json("job file list -j From_File", *cli.place, "-d", "MODEL")
    assert (folder["name"], folder["isDirectory"], folder["downloadUrl"]) == ("deep", True, None)
    assert (model["name"], model["contentLength"], model["fileType"]) == ("my model.dnn", 5, "file")
    assert urllib.request.urlopen(model["downloadUrl"]).read().decode() == "wörd"
    forged = model["downloadUrl"].replace("model.dnn", "model.dmm")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(forged)
    names = cli.json("job file list -j From_File", *cli.place, "--query", "[].name")
    assert names == ["execution.log", "stderr.txt", "stdout.txt"]
    _, err = cli.run("job file list -j From_File", *cli.place, "-d", "NONE", code=2)
    assert "'NONE'; it has MODEL, stdouterr" in err
    row = cli.run("job list", *cli.place, "-o", "table")[0].splitlines()[2].split()
    assert row == ["From_File", "nc6", cli.group, "Work_Space", "custom", "1", "succeeded", "0"]
    stored = cli.cluster.list("jobs.batchai.dev", cli.group)
    assert cli.environ["AZURE_BATCHAI_STORAGE_KEY"] not in json.dumps(stored)


def test_stream_misses_no_byte(cli: Cli) -> None:
    """Bursts of numbered lines, the last one right before the job's end."""
    burst = LINES // 10
    cli.submit(
        "numbers",
        f"for s in 0 1 2 3 4 5 6 7 8 9; do seq -f 'line %.0f' $((s*{burst}+1)) $((s*{burst}+{burst})); "
        "[ $s = 9 ] || sleep 1; done",
    )
    stream = ["job file stream -j numbers", *cli.place, "-f", "stdout.txt"]
    with cli.start(*stream) as process:
        out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err.decode()
    assert out == b"".join(b"line %d\n" % n for n in range(1, LINES + 1))
    assert b'The file "stdout.txt" not found. Waiting for the job to generate it.' in err
    assert b'File found with URL "http' in err
    again, _ = cli.run(*stream)
    assert again.encode() == out
    _, said = cli.run(*stream[:-1], "none.txt", code=3)
    assert 'The file "none.txt" not found for the completed job.' in said
    cli.run("job delete -n numbers", *cli.place, "-y")
    cli.run("job show -n numbers", *cli.place, code=3)


def test_stream_of_a_file_in_a_container(cli: Cli) -> None:
    """A blob shows when its writer has closed it, at the latest a moment after the job's end."""
    path = cli.folder / "blob.json"
    text = JOB % (json.dumps("seq 1000; sleep 1; seq 1000"), IMAGE, cli.group, cli.group)
    path.write_text(text.replace("JOB_MOUNT_ROOT/logs", "JOB_MOUNT_ROOT/data"))
    cli.run("job create -n blob -c nc6", *cli.place, "-f", str(path))
    out, _ = cli.run("job file stream -j blob", *cli.place, "-f", "stdout.txt")
    assert out == "".join(f"{n}\n" for n in range(1, 1001)) * 2


def test_wait_exits_with_the_jobs_code_and_terminate_ends_it(cli: Cli) -> None:
    cli.submit("fails", "echo broken >&2; exit 7")
    _, err = cli.run("job wait -n fails", *cli.place, "--interval", "1", code=7)
    assert "JobFailed" in err
    cli.submit("long", "sleep 600")
    cli.run("job terminate -n long", *cli.place, "-y")
    ended = cli.json("job show -n long", *cli.place)
    assert ended["executionState"] == "failed"
    assert ended["executionInfo"]["errors"][0]["code"] == "JobTerminated"
    cli.run("job wait -n long", *cli.place, code=255)


def test_bad_files_are_answered_in_one_sentence(cli: Cli) -> None:
    path = cli.folder / "bad.json"
    for properties, sentence in (
        ({"nodeCount": 1}, "ERROR: {path}: properties.stdOutErrPathPrefix: field required."),
        (
            {"nodeCount": 1, "stdOutErrPathPrefix": "/x"},
            "ERROR: {path}: properties: set exactly one of cntkSettings, ",
        ),
    ):
        path.write_text(json.dumps({"properties": properties}))
        create = ["job create -n bad -c nc6", *cli.place, "-f", str(path)]
        _, err = cli.run(*create, code=2)
        assert err.splitlines()[0].startswith(sentence.format(path=path))
