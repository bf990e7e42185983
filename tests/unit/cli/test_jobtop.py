"""`job top`: what is asked of which pods, and how their answers are shown."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from tests.unit.cli.fakes import Terminal
from tests.unit.cli.test_explanation import job

from batchai.cli import jobtop
from batchai.cli.kube import JOBS, PODS
from batchai.cli.measurement import COMMAND
from batchai.cli.problems import Problem
from batchai.errors import KubeApiError

TOP = "job top -n j_1 -g ns -w w -e e"
GIB = 1 << 30
BUSY = f"""\
cpu.stat:usage_usec 1000000
/proc/uptime:100.00 1.00
cpu.stat:usage_usec 4920000
/proc/uptime:101.00 1.00
memory.stat:inactive_file 0
memory.current:{GIB * 3 // 2}
memory.max:{56 * GIB}
"""
GPUS = "0, 97, 14336, 16384\n1, [N/A], [N/A], 16384\nnvidia-smi:0\n"


def pod(index: int, *, attempt: int = 1, state: str = "running") -> dict[str, Any]:
    labels = {"batchai.dev/job-uid": "u", "batchai.dev/attempt": str(attempt), "batchai.dev/index": str(index)}
    annotations = {"batchai.dev/node": f"node-{index}"}
    metadata = {"name": f"j-1-{attempt}-{index}", "namespace": "ns", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "status": {"containerStatuses": [{"name": "job", "state": {state: {}}}]}}


@pytest.fixture
def terminal() -> Terminal:
    """A running PyTorch job of two nodes, of which the first is busy and has GPUs."""
    terminal = Terminal()
    settings = {"pythonScriptFilePath": "t.py", "communicationBackend": "gloo"}
    made = job({"executionState": "running", "attempt": 1}, pyTorchSettings=settings)
    terminal.kube.put(JOBS, made)
    terminal.kube.put(PODS, pod(1))
    terminal.kube.put(PODS, pod(0))
    terminal.kube.outputs = lambda name: [f"{BUSY}{GPUS}".encode()] if name == "j-1-1-0" else []
    return terminal


def test_figures_of_all_nodes(terminal: Terminal) -> None:
    terminal.kube.put(PODS, pod(0, attempt=2))
    assert terminal.run(TOP) == [
        {
            "nodeId": "node-0",
            "index": 0,
            "role": "rank 0",
            "cpuCores": 3.92,
            "memoryUsedBytes": GIB * 3 // 2,
            "memoryLimitBytes": 56 * GIB,
            "gpus": [
                {
                    "index": 0,
                    "utilizationPercent": 97,
                    "memoryUsedBytes": 14 * GIB,
                    "memoryTotalBytes": 16 * GIB,
                },
                {"index": 1, "utilizationPercent": None, "memoryUsedBytes": None, "memoryTotalBytes": 16 * GIB},
            ],
        },
        {
            "nodeId": "node-1",
            "index": 1,
            "role": "rank 1",
            "cpuCores": None,
            "memoryUsedBytes": None,
            "memoryLimitBytes": None,
            "gpus": None,
        },
    ]
    command = list(COMMAND)
    assert sorted(terminal.kube.executed) == [("ns/j-1-1-0/job", command), ("ns/j-1-1-1/job", command)]
    assert terminal.said == []


def test_the_table_has_a_row_for_each_gpu(terminal: Terminal) -> None:
    assert terminal.run(f"{TOP} -o table").splitlines() == [
        "Node    Role    CPU   Memory   Limit     GPU  GPU %  GPU memory  GPU total",
        "------  ------  ----  -------  --------  ---  -----  ----------  ---------",
        "node-0  rank 0  3.92  1.5 GiB  56.0 GiB  0    97     14.0 GiB    16.0 GiB",
        "node-0  rank 0                           1    -      -           16.0 GiB",
        "node-1  rank 1  -     -        -         -    -      -           -",
    ]


def test_a_query(terminal: Terminal) -> None:
    assert terminal.run(f"{TOP} -o tsv --query [].gpus[].utilizationPercent") == "97\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 19, "1.5 MiB"), (5 << 50, "5120.0 TiB")]
)
def test_sizes(terminal: Terminal, count: int, text: str) -> None:
    terminal.kube.outputs = lambda _: [f"memory.current:{count}\n".encode()]
    assert f"  {text}  " in terminal.run(f"{TOP} -o table").splitlines()[2]


def test_a_node_that_refuses_is_told_and_does_not_fail_the_rest(terminal: Terminal) -> None:
    terminal.kube.put(PODS, pod(2, state="terminated"))
    terminal.kube.one(JOBS, "j-1")["spec"]["nodeCount"] = 3

    def answer(name: str) -> Iterable[bytes]:
        if name == "j-1-1-1":
            raise KubeApiError(500, "", "the kubelet is away")
        return [BUSY.encode()]

    terminal.kube.outputs = answer
    assert [node["cpuCores"] for node in terminal.run(TOP)] == [3.92, None, None]
    assert "\n".join(terminal.said).splitlines() == [
        "Node 'node-1' did not answer: the kubelet is away (HTTP 500). What happened: batchai job explain -n j_1",
        "Node 'node-2' did not answer: its container does not run. What happened: batchai job explain -n j_1",
    ]


def test_a_node_that_hangs_has_the_figures_that_came(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobtop, "ANSWER_SECONDS", 1.0)
    over = threading.Event()

    def answer(_: str) -> Iterator[bytes]:
        yield BUSY.encode() + b"0, 97, 1"
        over.wait(30)

    terminal.kube.outputs = answer
    printed = terminal.run(TOP)
    over.set()
    assert [(node["cpuCores"], node["gpus"]) for node in printed] == [(3.92, None)] * 2
    assert "Node 'node-0' did not answer: it took longer than 1 s." in terminal.said[0]


def test_an_nvidia_smi_that_fails_is_told(terminal: Terminal) -> None:
    terminal.kube.outputs = lambda _: [b"No devices were found\nnvidia-smi:6\n"]
    terminal.run(TOP)
    assert terminal.said[0].splitlines()[0] == (
        "nvidia-smi failed on node 'node-0' (exit code 6) or took longer than 5 s."
        " What it says: batchai job node exec -j j_1 -n node-0 --exec nvidia-smi"
    )


def test_a_command_that_is_killed_is_told(terminal: Terminal) -> None:
    terminal.kube.exit_code = 137
    assert terminal.run(TOP)[0]["cpuCores"] == 3.92
    assert "'node-0' did not answer: the command in its container ended with exit code 137." in terminal.said[0]


def test_a_right_that_is_missing_ends_it(terminal: Terminal) -> None:
    def refuse(_: str) -> Iterable[bytes]:
        raise KubeApiError(403, "Forbidden", "no")

    terminal.kube.outputs = refuse
    with pytest.raises(KubeApiError, match="no"):
        terminal.run(TOP)


@pytest.mark.parametrize(("state", "hint"), [("queued", "batchai job explain"), ("failed", "batchai job file list")])
def test_a_job_that_does_not_run(terminal: Terminal, state: str, hint: str) -> None:
    terminal.kube.one(JOBS, "j-1")["status"] = {"executionState": state}
    with pytest.raises(Problem, match=f"job 'j_1' is {state}: it has no running container") as caught:
        terminal.run(TOP)
    assert hint in caught.value.hint
    assert terminal.kube.executed == []
