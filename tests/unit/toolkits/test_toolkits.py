"""Each toolkit's processes, word for word."""

import json
from typing import Any

import pytest
from tests.unit.builders import job

from batchai.errors import SpecError
from batchai.toolkits import TOOLKITS, Launch, launch

SCRIPT = {"pythonScriptFilePath": "$S/train.py", "commandLineArgs": "--lr $LR 'a b'"}
PYTHON = "python \"$S/train.py\" --lr $LR 'a b'"
MPIRUN = "mpirun --allow-run-as-root --oversubscribe -np"


def one_node(**spec: Any) -> Launch:
    return launch(job(**spec).spec, ["host"])


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
            f"""{MPIRUN} 2 sh -c 'echo $RANK '"'"'x'"'"''""",
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
        "MASTER_ADDR": "host",
        "MASTER_PORT": "23456",
    }
    tcp = one_node(pyTorchSettings=SCRIPT | {"communicationBackend": "TCP"}).nodes[0][0]
    assert tcp.environment["AZ_BATCHAI_PYTORCH_INIT_METHOD"] == "tcp://host:23456"


def test_tensorflow_alone() -> None:
    found = one_node(tensorFlowSettings={"pythonScriptFilePath": "x.py", "masterCommandLineArgs": "--m"})
    ((process,),) = found.nodes
    assert (process.command, process.stdout) == ('python "x.py" --m', "stdout-wk-0.txt")
    assert found.environment == {"KERAS_BACKEND": "tensorflow"}
    assert process.environment == {}


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
        ({"customToolkitSettings": {"commandLine": "x"}, "nodeCount": 2}, "nodeCount"),
    ],
)
def test_shapes_that_cannot_run(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        one_node(**settings)


def test_every_toolkit_of_the_service_is_registered() -> None:
    from batchai.api.job import TOOLKITS as NAMES

    assert TOOLKITS.keys() == NAMES.keys()
