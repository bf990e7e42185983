"""`job stream`: the logs of all nodes, whole and once."""

import itertools
from collections.abc import Iterable, Iterator
from queue import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.fakes import FakeKube, Terminal
from tests.unit.cli.test_explanation import job

from batchai.api.job import Job
from batchai.cli.jobstream import names_of
from batchai.cli.kube import JOBS, PODS
from batchai.cli.logs import End, Line, Reader
from batchai.cli.screen import Screen
from batchai.errors import KubeApiError

STREAM = "job stream -n j_1 -g ns -w w -e e"


def pod(index: int, attempt: int = 1) -> dict[str, Any]:
    labels = {
        "batchai.dev/job-uid": "u",
        "batchai.dev/attempt": str(attempt),
        "batchai.dev/index": str(index),
    }
    status = {"phase": "Succeeded", "containerStatuses": [{"name": "job", "state": {"terminated": {}}}]}
    return {"metadata": {"name": f"j-1-{attempt}-{index}", "namespace": "ns", "labels": labels}, "status": status}


@pytest.fixture
def terminal() -> Terminal:
    terminal = Terminal()
    terminal.kube.put(JOBS, job({"executionState": "succeeded", "attempt": 1}))
    return terminal


def test_lines_have_the_names_of_their_nodes(terminal: Terminal) -> None:
    settings = {"pythonScriptFilePath": "t.py", "communicationBackend": "gloo"}
    made = job({"executionState": "succeeded", "attempt": 1}, pyTorchSettings=settings)
    terminal.kube.put(JOBS, made)
    terminal.kube.put(PODS, pod(0))
    terminal.kube.put(PODS, pod(1))
    terminal.kube.logs = lambda name, _: [b"2026-01-02T03:04:05.1Z hello from %s" % name.encode()]
    assert sorted(terminal.run_raw(STREAM).splitlines()) == [
        b"rank 0 | hello from j-1-1-0",
        b"rank 1 | hello from j-1-1-1",
    ]
    assert terminal.said == ["Job state: succeeded"]
    terminal.screen = Screen(80, colour=True)
    assert b"\x1b[36mrank 0 |\x1b[0m hello from j-1-1-0\n" in terminal.run_raw(STREAM)


def test_a_job_of_one_node_has_its_lines_as_they_are(terminal: Terminal) -> None:
    terminal.kube.put(JOBS, job({"executionState": "succeeded", "attempt": 1}, nodeCount=1))
    terminal.kube.put(PODS, pod(0))
    terminal.kube.logs = lambda *_: [b"2026-01-02T03:04:05.1Z \xff  two  words ", b"2026-01-02T03:04:05.2Z "]
    assert terminal.run_raw(STREAM) == b"\xff  two  words \n\n"


def test_a_failed_job_says_why(terminal: Terminal) -> None:
    info = {"errors": [{"code": "AZFMountError", "message": "no share"}]}
    terminal.kube.put(JOBS, job({"executionState": "failed", "executionInfo": info}))
    assert terminal.run_raw(STREAM) == b""
    assert terminal.said == ["Job state: failed", "AZFMountError: no share"]


def test_a_right_that_is_missing_ends_it(terminal: Terminal) -> None:
    terminal.kube.put(PODS, pod(0))

    def refuse(*_: Any) -> Iterator[bytes]:
        raise KubeApiError(403, "Forbidden", "no")

    terminal.kube.logs = refuse
    with pytest.raises(KubeApiError, match="no"):
        terminal.run_raw(STREAM)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ({"customToolkitSettings": {"commandLine": "x"}}, ["node 0", "node 1"]),
        ({"customMpiSettings": {"commandLine": "x"}}, ["mpirun", "node 1"]),
        (
            {"tensorFlowSettings": {"pythonScriptFilePath": "t.py"}},
            ["worker 0 + parameter server 0", "worker 1"],
        ),
    ],
)
def test_names(spec: dict[str, Any], names: list[str]) -> None:
    assert names_of(Job.model_validate(job(**spec))) == names


# --- one pod's log -------------------------------------------------------------------------------------------


def read(log: list[bytes], cuts: Iterable[int], trimmed: bool = False) -> list[bytes]:
    """What a reader makes of a log whose connection breaks after so many lines, again and again."""
    kube = FakeKube()
    kube.put(PODS, pod(0))
    breaks = iter(cuts)

    def answer(_pod: str, since: str | None) -> Iterator[bytes]:
        # The API shows everything from a whole second on.
        rest = [line for line in log if since is None or line[:19] >= since[:19].encode()]
        cut = next(breaks, None)
        yield from rest[:cut]
        if cut is not None:
            raise KubeApiError(0, "Unreachable", "gone")

    kube.logs = answer
    lines: Queue[Line | End] = Queue()
    seconds = itertools.count(0, 0.9)
    Reader(kube, "ns", "j-1-1-0", lines, sleep=lambda _: None, clock=lambda: next(seconds)).read()
    return [line.text for line in lines.queue if isinstance(line, Line)]


@given(
    gaps=st.lists(st.integers(0, 900_000_000) | st.just(0), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=20),
    trimmed=st.booleans(),
)
def test_broken_connections_neither_lose_nor_repeat_lines(gaps: list[int], cuts: list[int], *, trimmed: bool) -> None:
    log, now = [], 0
    for number, gap in enumerate(gaps):
        now += gap
        fraction = f"{now % 10**9:09}"
        stamp = f"2026-01-02T03:04:{now // 10**9:02}.{fraction.rstrip('0') or '0' if trimmed else fraction}Z"
        log.append(f"{stamp} line {number}".encode())
    assert read(log, cuts) == [b"line %d" % number for number in range(len(gaps))]


def test_a_log_that_stays_out_of_reach_is_given_up() -> None:
    with pytest.raises(KubeApiError, match="gone"):
        read([], [0] * 100)


def test_what_the_kubelet_says_into_a_log_is_shown_once_and_breaks_nothing() -> None:
    remark = b"failed to create fsnotify watcher: too many open files"
    lines = [b"2026-01-02T03:04:05.1Z one", remark, b"2026-01-02T03:04:06.1Z two"]
    assert read(lines, [2, 3]) == [b"one", remark, b"two"]


def test_the_log_of_a_former_attempt_that_is_out_of_reach_does_not_end_the_stream(terminal: Terminal) -> None:
    terminal.kube.put(JOBS, job({"executionState": "running", "attempt": 1}, nodeCount=1))
    terminal.kube.put(PODS, pod(0))

    def logs(name: str, _since: str | None) -> Iterator[bytes]:
        if name == "j-1-1-0":
            terminal.kube.put(PODS, pod(0, attempt=2))
            terminal.kube.put(JOBS, job({"executionState": "succeeded", "attempt": 2}, nodeCount=1))
            raise KubeApiError(403, "Forbidden", "its node is lost")
        yield b"2026-01-02T03:04:05.1Z hello"

    terminal.kube.logs = logs
    assert terminal.run_raw(STREAM) == b"hello\n"
    assert terminal.said == [
        "The log of pod j-1-1-0 was not read to its end: its node is lost (Forbidden 403)",
        "Job state: succeeded",
    ]


def test_a_pod_that_is_gone_has_ended() -> None:
    lines: Queue[Line | End] = Queue()
    Reader(FakeKube(), "ns", "none", lines).read()
    assert lines.empty()
