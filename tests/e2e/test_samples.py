"""The quickstart by `kubectl apply`: real MNIST, the CNTK image, logs by `kubectl logs -f`, models in the share."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.commands import Cli, environment, person
from tests.e2e.jobs import Cluster, Space, Storage

ROOT = Path(__file__).parents[2]
NAMESPACE = "batchai-samples"


@pytest.fixture(scope="module")
def samples(cluster: Cluster, storage: Storage, mnist: Path) -> Iterator[Space]:
    script = ROOT / "trainer-image/samples/ConvNet_MNIST.py"
    subprocess.run(
        [sys.executable, ROOT / "quickstart/storage.py", script, mnist],
        check=True,
        env=os.environ | {"AZURE_STORAGE_CONNECTION_STRING": storage.connection},
    )
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    yield Space(cluster, storage, NAMESPACE)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


@pytest.mark.timeout(600)
def test_the_quickstart_by_kubectl_apply(samples: Space, storage: Storage) -> None:
    samples.cluster.kubectl("apply", "-k", str(ROOT / "manifests/samples"))
    samples.wait_until(
        lambda: "batchai-storage-batchaitest" in str(samples.job("cntk-python-1").get("status", {}).get("waiting")),
        "the job asks for the storage account's Secret",
    )
    samples.make_secret("batchai-storage-batchaitest")
    samples.wait_until(
        lambda: any(pod["status"]["phase"] == "Running" for pod in samples.pods("cntk-python-1")),
        "the job's pod runs",
    )
    followed = subprocess.run(
        ["kubectl", "logs", "-f", "-n", NAMESPACE, "cntk-python-1-1-0", "-c", "job"],
        check=True,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert followed.stdout.count("Finished Epoch[") == 2
    errors = re.search(r"^Final Results: .*errs = ([0-9.]+)% \* 10000", followed.stdout, re.MULTILINE)
    assert errors is not None
    assert float(errors[1]) < 3
    status = samples.finished("cntk-python-1")["status"]
    assert status["executionState"] == "succeeded"
    assert status["toolType"] == "cntk"
    models = storage.files.get_share_client("logs").list_directories_and_files(
        f"{status['jobOutputDirectoryPathSegment']}/outputs"
    )
    assert sorted(model["name"] for model in models) == ["ConvNet_MNIST_0.dnn", "ConvNet_MNIST_1.dnn"]


@pytest.mark.timeout(400)
def test_the_quickstarts_job_json_on_shares_and_a_container(samples: Space, storage: Storage, tmp_path: Path) -> None:
    """The very file, by the command line, with the samples' workspace and cluster; its training is shorter."""
    cli = Cli(NAMESPACE, tmp_path, environment(storage, tmp_path), samples.cluster)
    place = ["-g", NAMESPACE, "-w", "quickstart", "-e", "quickstart"]
    file = str(ROOT / "quickstart/job.json")
    cli.run("job create -n of-file -c nc6 -f", file, *place, "--env=MNIST_EPOCHS=1", "--env=MNIST_SAMPLES=6000")
    streamed, _ = cli.run("job file stream -j of-file -f stderr.txt", *place)
    assert "Finished Epoch[1 of 1]" in streamed
    cli.run("job wait -n of-file --interval 1", *place)
    [model] = cli.json("job file list -j of-file -d MODEL", *place)
    assert model["name"] == "ConvNet_MNIST_0.dnn"
    cli.run("job file download -j of-file -d MODEL", *place, "-t", str(tmp_path))
    assert (tmp_path / model["name"]).stat().st_size == model["contentLength"] > 0


@pytest.mark.timeout(300)
def test_two_mpi_processes_share_the_training(samples: Space) -> None:
    job = yaml.safe_load((ROOT / "manifests/samples/job.yaml").read_text())
    job["metadata"] = {"name": "parallel", "namespace": NAMESPACE}
    job["spec"]["cntkSettings"]["processCount"] = 2
    job["spec"]["environmentVariables"] = [
        {"name": "MNIST_EPOCHS", "value": "1"},
        {"name": "MNIST_SAMPLES", "value": "6000"},
    ]
    samples.cluster.apply(job)
    samples.wait_until(lambda: samples.state("parallel") in {"succeeded", "failed"}, "the job ends", seconds=240)
    log = samples.cluster.kubectl("logs", "-n", NAMESPACE, "parallel-1-0", "-c", "job")
    assert samples.state("parallel") == "succeeded", log
    assert "2 out of 2 MPI nodes" in log
    assert log.count("Finished Epoch[1 of 1]") == 2


@pytest.fixture
def claims(cluster: Cluster, storage: Storage, mnist: Path) -> Iterator[Space]:
    """A space whose claim is already bound, to a share's folder that has script and data in it."""
    name = "batchai-samples-claims"
    share = storage.files.create_share(name)
    for path, files in {
        "scripts/cntk": [ROOT / "trainer-image/samples/ConvNet_MNIST.py"],
        "data/mnist_cntk": sorted(mnist.glob("*28x28_cntk*")),
    }.items():
        share.create_directory(path.split("/")[0])
        directory = share.create_directory(path)
        for file in files:
            directory.upload_file(file.name, file.read_bytes())
    volume = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "5Gi"},
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": name, "name": "training"},
        "hostPath": {"path": f"/var/lib/azure-files/{name}", "type": "Directory"},
    }
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume})
    yield Space(cluster, storage, name)
    cluster.kubectl("delete", "namespace", name, "--timeout=120s", "--ignore-not-found")
    cluster.kubectl("delete", "pv", name)
    storage.files.delete_share(name)


@pytest.mark.timeout(300)
def test_the_quickstart_on_nothing_but_a_claim(claims: Space, tmp_path: Path) -> None:
    """The shipped manifests, with a shorter training; whoever may reads what the job wrote by a pod of her own."""
    resources = list(yaml.safe_load_all(claims.cluster.kubectl("kustomize", str(ROOT / "manifests/samples-claims"))))
    (job,) = (resource for resource in resources if resource["kind"] == "Job")
    shorter = {"MNIST_EPOCHS": "1", "MNIST_SAMPLES": "6000"}
    job["spec"]["environmentVariables"] = [{"name": name, "value": value} for name, value in shorter.items()]
    claims.cluster.apply(*resources)
    place = ["-g", claims.namespace, "-w", "quickstart", "-e", "quickstart", "-j", "cntk-python-1"]
    cli = Cli(claims.namespace, tmp_path, dict(os.environ), claims.cluster)
    rita = person(cli, "rita", "batchai-user", "batchai-reader")
    streaming = rita.start("job file stream -f stderr.txt", *place)
    status = claims.finished("cntk-python-1", seconds=240)["status"]
    streamed, _ = streaming.communicate(timeout=120)
    assert streaming.returncode == 0
    log = claims.cluster.kubectl("logs", "-n", claims.namespace, "cntk-python-1-1-0", "-c", "job")
    assert status["executionState"] == "succeeded", log
    models = claims.storage.files.get_share_client(claims.namespace).list_directories_and_files(
        f"logs/{status['jobOutputDirectoryPathSegment']}/outputs"
    )
    assert [model["name"] for model in models] == ["ConvNet_MNIST_0.dnn"]

    (model,) = rita.json("job file list -d MODEL", *place)
    assert (model["name"], model["downloadUrl"]) == ("ConvNet_MNIST_0.dnn", None)
    rita.run(f"job file download -d MODEL -t {tmp_path}", *place)
    share = claims.storage.files.get_share_client(claims.namespace)
    path = f"logs/{status['jobOutputDirectoryPathSegment']}/outputs/ConvNet_MNIST_0.dnn"
    assert (tmp_path / model["name"]).read_bytes() == share.get_file_client(path).download_file().readall()
    assert (tmp_path / model["name"]).stat().st_size == model["contentLength"]
    assert b"Finished Epoch[1 of 1]" in streamed
    assert rita.run("job file stream -f stderr.txt", *place)[0].encode() == streamed
    assert not [pod for pod in claims.cluster.list("pods", claims.namespace) if "reader" in pod["metadata"]["name"]]
