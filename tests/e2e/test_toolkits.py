"""Toolkits with the real frameworks over several nodes; what cannot be installed any more is recorded instead."""

import json
import re
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.jobs import Cluster, Space, Storage

SCRIPTS = Path(__file__).parent / "scripts"
SAMPLE = Path(__file__).parents[2] / "trainer-image/samples/ConvNet_MNIST.py"
TRAINED_IMAGES = 8_000


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=3)
    container = storage.blobs.get_container_client(space.namespace)
    for script in (*SCRIPTS.glob("*.py"), SAMPLE):
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


def test_an_mpi_job_that_runs_too_long_is_told_so(space: Space) -> None:
    """Whichever node is stopped first, mpirun fails because of it."""
    job = space.run(
        "mpi-long",
        None,
        nodeCount=2,
        customMpiSettings={"commandLine": "sleep 600"},
        containerSettings=image("mpi"),
        constraints={"maxWallClockTime": "00:00:12"},
        succeeds=False,
    )
    info = job["status"]["executionInfo"]
    assert (info["errors"][0]["code"], info.get("exitCode")) == ("MaxWallClockTimeExceeded", None)


@pytest.fixture(scope="module")
def digits(space: Space, mnist: Path) -> str:
    """A folder of the container with MNIST: the first images to train on, and all that there are to test with."""
    container = space.storage.blobs.get_container_client(space.namespace)
    with (mnist / "Train-28x28_cntk_text.txt").open("rb") as file:
        container.upload_blob("mnist/Train-28x28_cntk_text.txt", b"".join(islice(file, TRAINED_IMAGES)))
    with (mnist / "Test-28x28_cntk_text.txt").open("rb") as file:
        container.upload_blob("mnist/Test-28x28_cntk_text.txt", file)
    return "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/mnist"


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.toolkits)])
def test_cntk_trains_on_mnist_in_parallel_over_two_nodes(space: Space, digits: str, count: int) -> None:
    name = f"mnist-{count}"
    arguments = f"{digits} $AZ_BATCHAI_OUTPUT_MODEL"
    job = space.run(
        name,
        None,
        nodeCount=2,
        cntkSettings=script("parallel_cntk.py") | {"processCount": count, "commandLineArgs": arguments},
        containerSettings={"imageSourceRegistry": {"image": "batchai/cntk:2.7-cpu"}},
        environmentVariables=[
            {"name": "MNIST_EPOCHS", "value": "2"},
            {"name": "MNIST_SAMPLES", "value": str(TRAINED_IMAGES)},
            # The nodes share the machine's cores.
            {"name": "OMP_NUM_THREADS", "value": "1"},
            {"name": "OMPI_MCA_mpi_yield_when_idle", "value": "1"},
        ],
        seconds=240,
    )
    ranks = [line.split() for line in stdout(space, name) if line.startswith("rank")]
    assert sorted(int(line[1]) for line in ranks) == list(range(count))
    assert {line[3] for line in ranks} == {str(count)}, "every process is a worker of the one training"
    assert sorted(line[5] for line in ranks) == sorted(job["status"]["nodes"] * (count // 2))
    assert len({line[7] for line in ranks}) == 1, "every worker ends with the same model"
    said = space.read_output(name, "stdouterr/stderr.txt").decode()
    (wrong,) = re.findall(r"^Final Results: .*errs = ([0-9.]+)% \* 10000", said, re.MULTILINE)
    assert float(wrong) < 10
    assert space.list_output(name, "outputs") == ["ConvNet_MNIST_0.dnn", "ConvNet_MNIST_1.dnn"]


def test_chainer_trains_in_parallel_over_two_nodes(space: Space) -> None:
    job = space.run(
        "chainer",
        None,
        nodeCount=2,
        chainerSettings=script("parallel_chainer.py") | {"processCount": 3},
        containerSettings=image("mpi"),
    )
    ranks = sorted(line.split() for line in stdout(space, "chainer") if line.startswith("rank"))
    first, second = job["status"]["nodes"]
    assert [line[:6] for line in ranks] == [
        ["rank", str(rank), "of", "3", "on", node] for rank, node in enumerate((first, first, second))
    ]
    assert len({line[7] for line in ranks}) == 1, "every worker ends with the same model"
    assert float(ranks[0][9]) < 0.1, "the loss of a line that can be fitted"


@pytest.mark.toolkits
def test_horovod_reduces_over_two_nodes(space: Space) -> None:
    job = space.run(
        "horovod",
        None,
        nodeCount=2,
        horovodSettings=script("allreduce_horovod.py") | {"processCount": 4},
        containerSettings=image("horovod"),
    )
    first, second = job["status"]["nodes"]
    assert sorted(line for line in stdout(space, "horovod") if line.startswith("rank")) == [
        f"rank {rank} of 4 local {rank % 2} of 2 on {node} sum 10.0"
        for rank, node in enumerate((first, first, second, second))
    ]


RECORDED = {
    "cntk": (
        "cntkSettings",
        {"configFilePath": "$AZ_BATCHAI_INPUT_CONFIG/Conv Net.cntk", "commandLineArgs": "RootDir=. 'Out=a b'"},
        ["configFile={config}/Conv Net.cntk", "RootDir=.", "Out=a b"],
    ),
    "caffe": (
        "caffeSettings",
        {
            "configFilePath": "$AZ_BATCHAI_INPUT_CONFIG/solver.prototxt",
            "commandLineArgs": '--snapshot="$OWN" --gpu all',
        },
        ["train", "--solver={config}/solver.prototxt", "--snapshot=it's here", "--gpu", "all"],
    ),
}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("program", RECORDED)
def test_programs_that_are_not_to_be_had_are_started_with_their_configuration(
    space: Space, program: str, nodes: int
) -> None:
    """`cntk` and `caffe` of the test image write down what they are given (images/mpi/record.py)."""
    settings, values, expected = RECORDED[program]
    name = f"{program}-{nodes}"
    job = space.run(
        name,
        None,
        nodeCount=nodes,
        containerSettings=image("mpi"),
        inputDirectories=[{"id": "CONFIG", "path": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/config"}],
        environmentVariables=[{"name": "OWN", "value": "it's here"}],
        **{settings: values},
    )
    temp = f"/mnt/batch/tasks/shared/LS_root/jobs/work/exp/{name}"
    arguments = [word.format(config=f"{temp}/mounts/data/config") for word in expected]
    pods = [f"{name}-1-{index}" for index in range(nodes)]
    hosts = pods if nodes == 1 else [f"{pod}.batchai-{name}" for pod in pods]
    for rank, node in enumerate(job["status"]["nodes"]):
        told = json.loads(space.read_output(name, f"outputs/{program}-{rank}.json"))
        assert told["arguments"] == arguments
        assert told["hosts"] == "".join(f"{host} slots=1\n" for host in hosts)
        environment = told["environment"]
        assert (environment["AZ_BATCH_NODE_ID"], environment["HOSTNAME"]) == (node, pods[rank])
        assert (environment["OWN"], environment["AZ_BATCH_HOST_LIST"]) == ("it's here", ",".join(hosts))
        assert environment["AZ_BATCHAI_INPUT_CONFIG"] == f"{temp}/mounts/data/config"
        assert environment.get("KERAS_BACKEND") == ("cntk" if program == "cntk" else None)
        if nodes > 1:
            assert (environment["RANK"], environment["LOCAL_RANK"], environment["WORLD_SIZE"]) == (str(rank), "0", "2")
        if rank == 0:
            options = f"--allow-run-as-root --hostfile {temp}/hostfile --map-by slot --bind-to none -np 2"
            line = ["mpirun", *options.split(), "/opt/batchai/bin/batchai-rank", program, *arguments]
            assert told["mpirun"] == ([] if nodes == 1 else line)


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


def test_pytorch_with_mpi_is_started_by_mpirun(space: Space) -> None:
    """Debian's torch has no MPI backend: the processes reduce by Gloo, with the places that mpirun gave them."""
    space.run(
        "torch-mpi",
        None,
        nodeCount=2,
        pyTorchSettings=script("allreduce_torch.py")
        | {"communicationBackend": "MPI", "processCount": 3, "commandLineArgs": "--dist-url env://"},
        containerSettings=image("torch"),
    )
    assert sorted(stdout(space, "torch-mpi")) == [f"rank {rank} of 3 sum 6.0" for rank in range(3)]
    master = space.job("torch-mpi")["status"]["nodes"][0]
    log = space.read_output("torch-mpi", f"stdouterr/execution-{master}.log").decode()
    assert 'batchai-mpirun -np 3 python "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/scripts/allreduce_torch.py" --dist-url' in log


@pytest.mark.toolkits
def test_caffe2_meets_in_the_shared_directory(space: Space) -> None:
    space.run(
        "caffe2", None, nodeCount=2, caffe2Settings=script("allreduce_caffe2.py"), containerSettings=image("caffe2")
    )
    for rank in range(2):
        assert stdout(space, "caffe2", f"stdout-{rank}.txt") == [f"rank {rank} of 2 sum 3.0"]


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
