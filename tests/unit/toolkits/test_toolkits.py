"""Each toolkit's processes, word for word."""

import json
from typing import Any

import pytest
from tests.unit.builders import job

from batchai.errors import SpecError
from batchai.toolkits import TOOLKITS, Allocation, Launch, launch

SCRIPT = {"pythonScriptFilePath": "$S/train.py", "commandLineArgs": "--lr $LR 'a b'"}
PYTHON = "python \"$S/train.py\" --lr $LR 'a b'"
MPIRUN = "batchai-mpirun -np"
HOSTS = ("train-1-0.batchai-train", "train-1-1.batchai-train", "train-1-2.batchai-train")


def one_node(**spec: Any) -> Launch:
    return launch(job(**spec).spec, Allocation(("host",)))


def on(count: int, *, gpus: int = 0, shared: bool = True, **spec: Any) -> Launch:
    return launch(job(**spec, nodeCount=count).spec, Allocation(HOSTS[:count], gpus, shared))


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ({"cntkSettings": SCRIPT}, PYTHON),
        ({"cntkSettings": SCRIPT | {"processCount": 4}}, f"{MPIRUN} 4 {PYTHON}"),
        ({"cntkSettings": {"configFilePath": "$C/x.cntk"}}, 'cntk configFile="$C/x.cntk"'),
        ({"caffeSettings": {"configFilePath": "s.prototxt"}}, 'caffe train --solver="s.prototxt"'),
        ({"caffeSettings": SCRIPT | {"processCount": 2}}, f"{MPIRUN} 2 {PYTHON}"),
        ({"chainerSettings": SCRIPT}, f"{MPIRUN} 1 {PYTHON}"),
        ({"horovodSettings": SCRIPT | {"processCount": 2}}, f"{MPIRUN} 2 {PYTHON}"),
        (
            {"customMpiSettings": {"commandLine": "echo $RANK 'x'", "processCount": 2}},
            f"""{MPIRUN} 2 /opt/batchai/shell -c 'echo $RANK '"'"'x'"'"''""",
        ),
        ({"customToolkitSettings": {"commandLine": "a && b"}}, "a && b"),
        ({"pyTorchSettings": SCRIPT | {"communicationBackend": "MPI", "processCount": 2}}, f"{MPIRUN} 2 {PYTHON}"),
    ],
)
def test_one_command_on_the_master(settings: dict[str, Any], command: str) -> None:
    ((process,),) = one_node(**settings).nodes
    assert process.command == command
    assert (process.stdout, process.stderr) == ("stdout.txt", "stderr.txt")


def test_interpreter_with_a_space() -> None:
    ((process,),) = one_node(cntkSettings=SCRIPT | {"pythonInterpreterPath": "/opt/my env/python"}).nodes
    assert process.command.startswith('"/opt/my env/python" "$S/train.py"')


def test_caffe2_names_files_by_rank() -> None:
    ((process,),) = one_node(caffe2Settings=SCRIPT).nodes
    assert (process.command, process.stdout) == (PYTHON, "stdout-0.txt")
    assert process.environment == {"AZ_BATCHAI_TASK_INDEX": "0"}


def test_pytorch_processes_find_each_other() -> None:
    found = one_node(pyTorchSettings=SCRIPT | {"communicationBackend": "Gloo", "processCount": 2})
    assert found.environment == {"AZ_BATCHAI_PYTORCH_BACKEND": "gloo"}
    (processes,) = found.nodes
    assert [process.stdout for process in processes] == ["stdout-0.txt", "stdout-1.txt"]
    assert processes[1].environment == {
        "AZ_BATCHAI_TASK_INDEX": "1",
        "AZ_BATCHAI_PYTORCH_INIT_METHOD": "file://$AZ_BATCHAI_SHARED_JOB_TEMP/pytorch-init",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "host",
        "MASTER_PORT": "23456",
    }
    assert one_node(pyTorchSettings=SCRIPT | {"communicationBackend": "MPI"}).environment.items() >= {
        ("AZ_BATCHAI_PYTORCH_BACKEND", "mpi")
    }
    tcp = one_node(pyTorchSettings=SCRIPT | {"communicationBackend": "TCP"}).nodes[0][0]
    assert tcp.environment["AZ_BATCHAI_PYTORCH_INIT_METHOD"] == "tcp://host:23456"


def test_tensorflow_alone() -> None:
    found = one_node(tensorFlowSettings={"pythonScriptFilePath": "x.py", "masterCommandLineArgs": "--m"})
    ((process,),) = found.nodes
    assert (process.command, process.stdout) == ('python "x.py" --m', "stdout-wk-0.txt")
    assert found.environment == {"KERAS_BACKEND": "tensorflow"}
    assert process.environment == {"AZ_BATCHAI_TASK_INDEX": "0"}


def test_tensorflow_with_parameter_server() -> None:
    settings = {
        "pythonScriptFilePath": "x.py",
        "masterCommandLineArgs": "--m",
        "workerCommandLineArgs": "--w",
        "parameterServerCommandLineArgs": "--p",
        "workerCount": 2,
        "parameterServerCount": 1,
    }
    found = one_node(tensorFlowSettings=settings)
    assert found.environment["AZ_BATCHAI_PS_HOSTS"] == "host:2222"
    assert found.environment["AZ_BATCHAI_WORKER_HOSTS"] == "host:2223,host:2224"
    (processes,) = found.nodes
    assert [(process.command, process.stdout) for process in processes] == [
        ('python "x.py" --m', "stdout-wk-0.txt"),
        ('python "x.py" --w', "stdout-wk-1.txt"),
        ('python "x.py" --p', "stdout-ps-0.txt"),
    ]
    assert json.loads(processes[2].environment["TF_CONFIG"]) == {
        "cluster": {"ps": ["host:2222"], "worker": ["host:2223", "host:2224"]},
        "task": {"type": "ps", "index": 0},
        "environment": "cloud",
    }


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"pyTorchSettings": SCRIPT | {"processCount": 2}}, "communicationBackend"),
        (
            {"tensorFlowSettings": {"pythonScriptFilePath": "x.py", "parameterServerCount": 2}},
            "parameterServerCount",
        ),
    ],
)
def test_shapes_that_cannot_run(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        one_node(**settings)


@pytest.mark.parametrize(
    ("settings", "command", "slots"),
    [
        ({"cntkSettings": SCRIPT}, f"{MPIRUN} 2 {PYTHON}", (1, 1)),
        ({"cntkSettings": SCRIPT | {"processCount": 4}}, f"{MPIRUN} 4 {PYTHON}", (2, 2)),
        ({"cntkSettings": SCRIPT | {"processCount": 1}}, PYTHON, (1, 1)),
        ({"cntkSettings": {"configFilePath": "x.cntk"}}, f'{MPIRUN} 2 cntk configFile="x.cntk"', (1, 1)),
        ({"caffeSettings": {"configFilePath": "s"}}, f'{MPIRUN} 2 caffe train --solver="s"', (1, 1)),
        ({"chainerSettings": SCRIPT}, f"{MPIRUN} 2 {PYTHON}", (1, 1)),
        ({"horovodSettings": SCRIPT | {"processCount": 3}}, f"{MPIRUN} 3 {PYTHON}", (2, 1)),
        ({"customMpiSettings": {"commandLine": "x"}}, f"{MPIRUN} 2 /opt/batchai/shell -c x", (1, 1)),
        ({"customToolkitSettings": {"commandLine": "x"}}, "x", (1, 1)),
        ({"pyTorchSettings": SCRIPT | {"communicationBackend": "mpi"}}, f"{MPIRUN} 2 {PYTHON}", (1, 1)),
    ],
)
def test_master_driven_toolkits_on_two_nodes(settings: dict[str, Any], command: str, slots: tuple[int, ...]) -> None:
    found = on(2, **settings)
    assert [[process.command for process in node] for node in found.nodes] == [[command], []]
    assert found.slots == slots
    if command.startswith(MPIRUN):
        assert found.environment.items() >= {"MASTER_ADDR": HOSTS[0], "MASTER_PORT": "23456"}.items()


def test_a_custom_toolkit_may_start_a_process_per_gpu() -> None:
    assert on(2, gpus=4, customToolkitSettings={"commandLine": "x"}).slots == (4, 4)


def test_caffe2_on_two_nodes() -> None:
    found = on(2, caffe2Settings=SCRIPT)
    assert [[process.stdout for process in node] for node in found.nodes] == [["stdout-0.txt"], ["stdout-1.txt"]]
    with pytest.raises(SpecError, match="sharedTempStorageClass"):
        on(2, shared=False, caffe2Settings=SCRIPT)


def test_pytorch_ranks_are_counted_node_by_node() -> None:
    found = on(2, pyTorchSettings=SCRIPT | {"communicationBackend": "gloo", "processCount": 3})
    ranks = [[(p.environment["RANK"], p.environment["LOCAL_RANK"]) for p in node] for node in found.nodes]
    assert ranks == [[("0", "0"), ("1", "1")], [("2", "0")]]
    last = found.nodes[1][0]
    assert (last.title, last.stdout, last.environment["MASTER_ADDR"]) == ("rank 2", "stdout-2.txt", HOSTS[0])
    assert last.environment["AZ_BATCHAI_PYTORCH_INIT_METHOD"] == f"tcp://{HOSTS[0]}:23456"


def test_pytorch_leaves_no_node_without_a_process() -> None:
    with pytest.raises(SpecError, match="processCount"):
        on(3, pyTorchSettings=SCRIPT | {"communicationBackend": "tcp", "processCount": 2})


def test_tensorflow_on_three_nodes_is_the_example_of_the_reference() -> None:
    found = on(3, tensorFlowSettings={"pythonScriptFilePath": "x.py"})
    assert found.environment["AZ_BATCHAI_PS_HOSTS"] == f"{HOSTS[0]}:2222"
    assert found.environment["AZ_BATCHAI_WORKER_HOSTS"] == f"{HOSTS[0]}:2223,{HOSTS[1]}:2222,{HOSTS[2]}:2222"
    titles = [[(process.title, process.serves) for process in node] for node in found.nodes]
    assert titles == [[("worker 0", False), ("parameter server 0", True)], [("worker 1", False)], [("worker 2", False)]]


def test_tensorflow_with_a_chief() -> None:
    found = on(2, tensorFlowSettings={"pythonScriptFilePath": "x.py", "chief": True})
    master, worker = (json.loads(node[0].environment["TF_CONFIG"]) for node in found.nodes)
    assert master["cluster"] == {
        "chief": [f"{HOSTS[0]}:2223"],
        "ps": [f"{HOSTS[0]}:2222"],
        "worker": [f"{HOSTS[1]}:2222"],
    }
    assert (master["task"], worker["task"]) == ({"type": "chief", "index": 0}, {"type": "worker", "index": 0})
    assert found.nodes[1][0].environment["AZ_BATCHAI_TASK_INDEX"] == "1"


def test_tensorflow_workers_need_gpus() -> None:
    settings = {"pythonScriptFilePath": "x.py", "workerCount": 5}
    assert on(2, tensorFlowSettings=settings)
    with pytest.raises(SpecError, match="workerCount"):
        on(2, gpus=2, tensorFlowSettings=settings)


def test_every_toolkit_of_the_service_is_registered() -> None:
    from batchai.api.job import TOOLKITS as NAMES

    assert TOOLKITS.keys() == NAMES.keys()
