"""`batchai` as a user types it, against the real cluster and its storage."""

import json
import os
import pty
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from tests.e2e.commands import JOB, Cli, resource_group
from tests.e2e.jobs import IMAGE, Cluster, Storage

LINES = 12_000

# Jobs wait for nodes that other modules give back.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cli(cluster: Cluster, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with resource_group(cluster, storage, tmp_path_factory.mktemp("home"), nodes=1) as cli:
        yield cli


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
