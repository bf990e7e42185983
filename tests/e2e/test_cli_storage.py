"""Commands that read storage which fails, or with a SAS token for a key; and what old recipes did with storage."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas
from tests.e2e.commands import Cli, resource_group
from tests.e2e.jobs import Cluster, Storage, wait_until

ROOT = Path(__file__).parents[2]
BIG = 200_000_000
"""Bytes of a file that takes a while to read."""
BLOB = "$AZ_BATCHAI_JOB_MOUNT_ROOT/data"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cli(cluster: Cluster, storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with resource_group(cluster, storage, tmp_path_factory.mktemp("home"), nodes=1) as cli:
        yield cli


@pytest.fixture(scope="module")
def big(cli: Cli) -> str:
    """A job that wrote MODEL/a/b/big and MODEL/small to the share, and their SHA-256 to stdout.txt."""
    command = (
        f"cd $AZ_BATCHAI_OUTPUT_MODEL; mkdir -p a/b; head -c {BIG} /dev/urandom > a/b/big; "
        "echo hi > small; sha256sum a/b/big small"
    )
    cli.create("big", customToolkitSettings={"commandLine": command})
    cli.run("job wait -n big --interval 1", *cli.place)
    return "big"


def container(cli: Cli) -> dict[str, list[dict[str, str]]]:
    """The group's container as the one mount of a job, at `data`."""
    mount = {
        "accountName": "<YOUR_STORAGE_ACCOUNT>",
        "containerName": cli.group,
        "relativeMountPath": "data",
    }
    return {"azureBlobFileSystems": [mount]}


def with_token(cli: Cli, storage: Storage, valid: timedelta = timedelta(hours=1)) -> Cli:
    """The same for somebody who has a SAS token of the account, and no key."""
    token = generate_account_sas(
        storage.account,
        storage.key,
        resource_types=ResourceTypes(container=True, object=True),
        permission=AccountSasPermissions.from_string("rwdlacu"),
        expiry=datetime.now(UTC) + valid,
        services=Services(blob=True, fileshare=True),
    )
    environ = {name: value for name, value in cli.environ.items() if name != "AZURE_BATCHAI_STORAGE_KEY"}
    environ["AZURE_STORAGE_CONNECTION_STRING"] = storage.connection.replace(f"AccountKey={storage.key};", "")
    return Cli(cli.group, cli.folder, {**environ, "AZURE_BATCHAI_STORAGE_SAS": token}, cli.cluster)


def in_azure(cli: Cli, deployment: str, script: str) -> str:
    return cli.cluster.kubectl("exec", "-n", "azure", f"deploy/{deployment}", "--", "sh", "-c", script)


def check_sums(cli: Cli, folder: Path) -> None:
    sums = cli.run("job file stream -j big -f stdout.txt", *cli.place)[0]
    done = subprocess.run(["sha256sum", "a/b/big", "small"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == sums


def wait_for_part(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    while not any(part.stat().st_size for part in folder.rglob("*.part")):
        assert process.poll() is None
        time.sleep(0.01)


def test_download_goes_on_after_a_kill(cli: Cli, big: str, tmp_path: Path) -> None:
    download = [f"job file download -j {big} -d MODEL", *cli.place, "-t", str(tmp_path)]
    with cli.start(*download) as process:
        wait_for_part(process, tmp_path)
        process.kill()
    [part] = tmp_path.rglob("*.part")
    assert 0 < part.stat().st_size < BIG
    listed = cli.json(*download)
    assert sorted(each["name"] for each in listed) == ["a/b/big", "small"]
    assert not list(tmp_path.rglob("*.part"))
    check_sums(cli, tmp_path)
    began = time.monotonic()
    cli.run(*download)
    assert time.monotonic() - began < 30


def test_a_token_that_expires_ends_a_download_that_a_new_one_goes_on_with(
    cli: Cli, storage: Storage, big: str, tmp_path: Path
) -> None:
    valid = timedelta(seconds=15)
    ends = time.monotonic() + valid.total_seconds()
    download = [f"job file download -j {big} -d MODEL", *cli.place, "-t", str(tmp_path)]
    with with_token(cli, storage, valid).start(*download) as process:
        wait_for_part(process, tmp_path)
        process.send_signal(signal.SIGSTOP)
        [part] = tmp_path.rglob("*.part")
        assert part.stat().st_size < BIG
        time.sleep(max(0.0, ends + 1 - time.monotonic()))
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"does not accept the SAS token, which is valid until " in err
    assert b"sig" not in err
    assert part.stat().st_size > 0
    with_token(cli, storage).run(*download)
    check_sums(cli, tmp_path)


def test_a_busy_server_is_asked_again_when_it_says(cli: Cli, big: str, tmp_path: Path) -> None:
    """More often than the SDK would by itself."""
    in_azure(cli, "azure-files", "echo 8 >/var/lib/azure-files/.busy")
    try:
        cli.run(f"job file download -j {big} -d MODEL -f small", *cli.place, "-t", str(tmp_path))
        assert (tmp_path / "small").read_bytes() == b"hi\n"
        in_azure(cli, "azure-files", "! test -e /var/lib/azure-files/.busy")
    finally:
        in_azure(cli, "azure-files", "rm -f /var/lib/azure-files/.busy")


def test_a_stream_goes_on_when_azurite_is_back(cli: Cli, storage: Storage) -> None:
    """It is stopped while the reader of the stream holds it up."""
    cli.create(
        "blob",
        customToolkitSettings={"commandLine": "true"},
        stdOutErrPathPrefix=BLOB,
        outputDirectories=[{"id": "MODEL", "pathPrefix": BLOB}],
        mountVolumes=container(cli),
    )
    cli.run("job wait -n blob --interval 1", *cli.place)
    segment = cli.json("job show -n blob --query jobOutputDirectoryPathSegment", *cli.place)
    content = os.urandom(BIG // 4)
    storage.blobs.get_blob_client(cli.group, f"{segment}/outputs/big").upload_blob(content)

    def restarts() -> int:
        [pod] = cli.cluster.list("pods", "azure", "app=azurite")
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    before = restarts()
    with cli.start("job file stream -j blob -d MODEL -f big", *cli.place) as process:
        assert process.stdout
        streamed = [process.stdout.read(1 << 20)]
        in_azure(cli, "azurite", "kill -TERM 1")
        wait_until(lambda: restarts() > before, "Azurite was stopped")
        streamed.append(process.stdout.read())
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
    assert b"".join(streamed) == content


@pytest.mark.timeout(400)
def test_the_quickstarts_job_on_a_sas_token(cli: Cli, storage: Storage, mnist: Path, tmp_path: Path) -> None:
    """SMB knows no SAS, so that the two shares of job.json are containers; its training is shorter."""
    script = ROOT / "trainer-image/samples/ConvNet_MNIST.py"
    environ = {**os.environ, "AZURE_STORAGE_CONNECTION_STRING": storage.connection}
    subprocess.run([sys.executable, ROOT / "quickstart/storage.py", script, mnist], check=True, env=environ)
    job = json.loads((ROOT / "quickstart/job.json").read_text())
    volumes = job["properties"]["mountVolumes"]
    made = {
        share["relativeMountPath"]: f"{cli.group}-{share['relativeMountPath']}"
        for share in volumes.pop("azureFileShares")
    }
    for path, name in made.items():
        mount = {"accountName": "<YOUR_STORAGE_ACCOUNT>", "containerName": name, "relativeMountPath": path}
        volumes["azureBlobFileSystems"].append(mount)
        storage.blobs.create_container(name)
    storage.blobs.get_blob_client(made["scripts"], f"cntk/{script.name}").upload_blob(script.read_bytes())
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    guest = with_token(cli, storage)
    # A key that is kept would be used.
    cli.run("storage remove -y -n", storage.account, "-g", cli.group)
    shorter = ["--env=MNIST_EPOCHS=1", "--env=MNIST_SAMPLES=6000"]
    try:
        guest.run("job create -n sas -c nc6", *guest.place, "-f", str(path), *shorter)
        streamed, _ = guest.run("job file stream -j sas -f stderr.txt", *guest.place)
        assert "Finished Epoch[1 of 1]" in streamed
        guest.run("job wait -n sas --interval 1", *guest.place)
        [model] = guest.json("job file list -j sas -d MODEL", *guest.place)
        assert (model["name"], model["downloadUrl"]) == ("ConvNet_MNIST_0.dnn", None)
        guest.run("job file download -j sas -d MODEL", *guest.place, "-t", str(tmp_path))
        assert (tmp_path / model["name"]).stat().st_size == model["contentLength"] > 0
        secret = cli.cluster.get("secret", f"batchai-storage-{storage.account}", cli.group)
        assert sorted(secret["data"]) == ["azurestorageaccountname", "azurestorageaccountsastoken"]
        assert "sig=" not in json.dumps(cli.cluster.get("bjob", "sas", cli.group))
    finally:
        for name in made.values():
            storage.blobs.delete_container(name)


def test_what_old_recipes_did_with_storage(cli: Cli, storage: Storage) -> None:
    """Inputs in a container, an output with a pathSuffix, and one that stays on the node while the job runs."""
    storage.blobs.get_blob_client(cli.group, "sets/in put").upload_blob(b"seven")
    share = {"azureFileUrl": f"https://<YOUR_STORAGE_ACCOUNT>.file.core.windows.net/{cli.group}"}
    logs = "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"
    command = (
        'cp "$AZ_BATCHAI_INPUT_SET/in put" $AZ_BATCHAI_OUTPUT_CACHE/; '
        "cp $AZ_BATCHAI_OUTPUT_CACHE/* $AZ_BATCHAI_OUTPUT_MODEL/"
    )
    cli.create(
        "recipe",
        customToolkitSettings={"commandLine": command},
        inputDirectories=[{"id": "SET", "path": f"{BLOB}/sets"}],
        outputDirectories=[
            {"id": "MODEL", "pathPrefix": logs, "pathSuffix": "models/best"},
            {"id": "CACHE", "pathPrefix": "$AZ_BATCHAI_JOB_TEMP"},
        ],
        mountVolumes={"azureFileShares": [{**share, "relativeMountPath": "logs"}], **container(cli)},
    )
    cli.run("job wait -n recipe --interval 1", *cli.place)
    [model] = cli.json("job file list -j recipe -d MODEL", *cli.place)
    assert (model["name"], model["contentLength"]) == ("in put", 5)
    segment = cli.json("job show -n recipe --query jobOutputDirectoryPathSegment", *cli.place)
    path = f"{segment}/outputs/models/best/in put"
    assert storage.files.get_share_client(cli.group).get_file_client(path).download_file().readall() == b"seven"
    _, err = cli.run("job file list -j recipe -d CACHE", *cli.place, code=2)
    assert "'CACHE' lies at " in err
    assert "not on a mounted file system: it is gone" in err
