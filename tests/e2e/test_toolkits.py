"""Toolkits with the real frameworks over several nodes."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.jobs import Cluster, Space, Storage

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=3)
    container = storage.blobs.get_container_client(space.namespace)
    for script in SCRIPTS.iterdir():
        container.upload_blob(f"scripts/{script.name}", script.read_bytes())
    yield space
    space.remove()


def script(name: str) -> dict[str, str]:
    return {"pythonScriptFilePath": f"$AZ_BATCHAI_JOB_MOUNT_ROOT/data/scripts/{name}"}


def image(name: str) -> dict[str, Any]:
    return {"imageSourceRegistry": {"image": f"batchai-test/{name}:dev"}}


def stdout(space: Space, name: str, file: str = "stdout.txt") -> list[str]:
    return space.read_output(name, f"stdouterr/{file}").decode().splitlines()


# --- MPI ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["openmpi", "openmpi5", "mpich", "impi"])
def test_mpi_of_every_flavour_over_three_nodes(space: Space, flavour: str) -> None:
    # Open MPI 4 is on the image's PATH, the others come by ~/.bashrc as in the service's recipes.
    choose = f"echo 'export PATH=/opt/{flavour}/bin:$PATH LD_LIBRARY_PATH=/opt/{flavour}/lib' >>~/.bashrc"
    command = "python $AZ_BATCHAI_JOB_MOUNT_ROOT/data/scripts/allreduce_mpi.py"
    job = space.run(
        f"mpi-{flavour}",
        None,
        nodeCount=3,
        customMpiSettings={"commandLine": command},
        containerSettings=image("mpi") | {"shmSize": "256mb"},
        jobPreparation={"commandLine": "true" if flavour == "openmpi" else choose},
        environmentVariables=[{"name": "OWN", "value": "it's here"}],
    )
    lines = sorted(line for line in stdout(space, f"mpi-{flavour}") if line.startswith("rank"))
    assert lines == [
        f"rank {rank} of 3 on {node} sum 6 own it's here torch {rank}/3"
        for rank, node in enumerate(job["status"]["nodes"])
    ]


def test_an_mpi_rank_that_fails_is_named(space: Space) -> None:
    job = space.run(
        "mpi-fails",
        None,
        nodeCount=2,
        customMpiSettings={"commandLine": '[ "$RANK" = 0 ] && sleep 60 || { echo broke >&2; exit 3; }'},
        containerSettings=image("mpi"),
        succeeds=False,
    )
    info = job["status"]["executionInfo"]
    details = {item["name"]: item["value"] for item in info["errors"][0]["details"]}
    assert info["exitCode"] == 3
    assert (details["Process"], details["Node"]) == ("rank 1", job["status"]["nodes"][1])
    assert "broke" in details["Info"]


@pytest.mark.parametrize("count", [2, 4])
def test_cntk_trains_in_parallel_over_two_nodes(space: Space, count: int) -> None:
    name = f"cntk-{count}"
    space.run(
        name,
        None,
        nodeCount=2,
        cntkSettings=script("parallel_cntk.py") | {"processCount": count},
        containerSettings={"imageSourceRegistry": {"image": "batchai/cntk:2.7-cpu"}},
    )
    lines = [line.split() for line in stdout(space, name) if line.startswith("rank")]
    assert sorted(int(line[1]) for line in lines) == list(range(count))
    assert {line[3] for line in lines} == {str(count)}
    assert len({line[5] for line in lines}) == 2, "both nodes take part"
    assert len({line[7] for line in lines}) == 1, "every worker ends with the same model"


# --- processes that Batch AI starts itself ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["gloo", "TCP"])
def test_pytorch_reduces_over_two_nodes(space: Space, backend: str) -> None:
    name = f"torch-{backend.lower()}"
    arguments = "--dist-url $AZ_BATCHAI_PYTORCH_INIT_METHOD --rank $AZ_BATCHAI_TASK_INDEX"
    space.run(
        name,
        None,
        nodeCount=2,
        pyTorchSettings=script("allreduce_torch.py")
        | {"communicationBackend": backend, "processCount": 3, "commandLineArgs": arguments},
        containerSettings=image("torch"),
    )
    for rank in range(3):
        assert stdout(space, name, f"stdout-{rank}.txt") == [f"rank {rank} of 3 sum 6.0"]


def test_tensorflow_trains_with_a_parameter_server(space: Space) -> None:
    arguments = "--job_name={} --task_index=$AZ_BATCHAI_TASK_INDEX --ps_hosts=$AZ_BATCHAI_PS_HOSTS"
    arguments += " --worker_hosts=$AZ_BATCHAI_WORKER_HOSTS"
    job = space.run(
        "tf-ps",
        None,
        nodeCount=2,
        tensorFlowSettings=script("between_graph_tf.py")
        | {"masterCommandLineArgs": arguments.format("worker"), "workerCommandLineArgs": arguments.format("worker")}
        | {"parameterServerCommandLineArgs": arguments.format("ps"), "workerCount": 2, "parameterServerCount": 1},
        containerSettings=image("tensorflow"),
    )
    assert job["status"]["executionInfo"]["exitCode"] == 0
    assert stdout(space, "tf-ps", "stdout-ps-0.txt") == ["serving"]
    for worker in range(2):
        assert "trained" in stdout(space, "tf-ps", f"stdout-wk-{worker}.txt")[-1]


def test_tensorflow_on_one_node(space: Space) -> None:
    space.run(
        "tf-one",
        None,
        tensorFlowSettings=script("single_tf.py") | {"masterCommandLineArgs": "'two words'"},
        containerSettings=image("tensorflow"),
    )
    assert stdout(space, "tf-one", "stdout-wk-0.txt") == ["two words", "6.0"]
