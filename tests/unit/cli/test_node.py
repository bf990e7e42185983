"""`node list` and `node exec`, and the ports that -L forwards."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.unit.cli.fakes import Terminal

from batchai.cli import forward, kubestreams
from batchai.cli.kube import CLUSTERS, JOBS, NODES, PODS, WORKSPACES
from batchai.cli.kubestreams import Tunnel
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.errors import KubeApiError

JOB = "-j j_1 -g ns -w w -e e"
CLUSTER = "-c nc6 -g ns -w w"


def pod(index: int, *, job: str = "j-1", attempt: int = 1, state: str = "running") -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/managed-by": "batchai",
        "batchai.dev/job": job,
        "batchai.dev/job-uid": f"uid-{job}",
        "batchai.dev/cluster": "nc6",
        "batchai.dev/attempt": str(attempt),
        "batchai.dev/index": str(index),
    }
    name = f"{job}-{attempt}-{index}"
    annotations = {"batchai.dev/node": f"node-{index}"}
    return {
        "metadata": {"name": name, "namespace": "ns", "labels": labels, "annotations": annotations},
        "status": {"podIP": f"10.0.0.{index}", "containerStatuses": [{"name": "job", "state": {state: {}}}]},
    }


@pytest.fixture
def terminal() -> Terminal:
    terminal = Terminal()
    place = {"batchai.dev/workspace": "w", "batchai.dev/experiment": "e"}
    terminal.kube.put(WORKSPACES, {"metadata": {"name": "w", "namespace": "ns", "labels": {"batchai.dev/name": "w"}}})
    for resource, name, azure, labels in (
        (CLUSTERS, "nc6", "nc6", {"batchai.dev/workspace": "w"}),
        (JOBS, "j-1", "j_1", place),
    ):
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
        body = {"metadata": {**metadata, "labels": {**labels, "batchai.dev/name": azure}}, "spec": {}, "status": {}}
        terminal.kube.put(resource, body)
    terminal.kube.one(JOBS, "j-1")["status"] = {"executionState": "running", "attempt": 1}
    return terminal


def test_nodes_of_a_cluster(terminal: Terminal) -> None:
    owned = {"batchai.dev/cluster": "nc6", "batchai.dev/cluster-namespace": "ns"}
    addresses = [{"type": "InternalIP", "address": "10.1.0.1"}]
    for name, labels, more in (
        ("b", owned, []),
        ("a", owned, [{"type": "ExternalIP", "address": "1.2.3.4"}]),
        ("c", {**owned, "batchai.dev/cluster-namespace": "other"}, []),
    ):
        status = {"addresses": [*addresses, *more]}
        terminal.kube.put(NODES, {"metadata": {"name": name, "labels": labels}, "status": status})
    assert terminal.run(f"cluster node list {CLUSTER}") == [
        {"ipAddress": "1.2.3.4", "nodeId": "a", "port": None},
        {"ipAddress": "10.1.0.1", "nodeId": "b", "port": None},
    ]
    assert terminal.run(f"cluster node list {CLUSTER} -o table").splitlines() == [
        "ID  IP        SSH Port",
        "--  --------  --------",
        "a   1.2.3.4",
        "b   10.1.0.1",
    ]


def test_nodes_of_a_job(terminal: Terminal) -> None:
    for made in (pod(1), pod(0), pod(2, state="terminated"), pod(0, attempt=2), pod(0, job="other")):
        terminal.kube.put(PODS, made)
    listed = terminal.run(f"job node list {JOB}")
    assert [(node["nodeId"], node["ipAddress"]) for node in listed] == [("node-0", "10.0.0.0"), ("node-1", "10.0.0.1")]


def test_a_command_on_a_node_of_a_job(terminal: Terminal) -> None:
    terminal.kube.put(PODS, pod(0))
    terminal.kube.put(PODS, pod(1))
    assert terminal.run_raw(f"job node exec {JOB}", "--exec=nvidia-smi -L") == b"out\n"
    assert terminal.errors.getvalue() == b"err\n"
    terminal.kube.exit_code = 7
    with pytest.raises(SystemExit, match="7"):
        terminal.run(f"job node exec {JOB} -n node-1 --exec false")
    assert [(place, command[-1]) for place, command in terminal.kube.executed] == [
        ("ns/j-1-1-0/job", "nvidia-smi -L"),
        ("ns/j-1-1-1/job", "false"),
    ]


def test_a_command_on_a_node_of_a_cluster(terminal: Terminal) -> None:
    terminal.kube.put(PODS, pod(0, job="a", state="terminated"))
    terminal.kube.put(PODS, pod(1, job="b"))
    terminal.run(f"cluster node exec {CLUSTER} --exec hostname")
    assert terminal.kube.executed[0][0] == "ns/b-1-1/job"
    with pytest.raises(Problem, match="no job runs on node 'node-0' of cluster 'nc6'") as caught:
        terminal.run(f"cluster node exec {CLUSTER} -n node-0 --exec hostname")
    assert "kubectl debug node/node-0" in caught.value.hint


@pytest.mark.parametrize(("state", "hint"), [("queued", "batchai job explain"), ("failed", "batchai job file list")])
def test_a_job_without_a_container(terminal: Terminal, state: str, hint: str) -> None:
    terminal.kube.one(JOBS, "j-1")["status"]["executionState"] = state
    with pytest.raises(Problem, match=f"job 'j_1' is {state}: it has no running container") as caught:
        terminal.run(f"job node exec {JOB} --exec true")
    assert hint in caught.value.hint


def test_nodes_that_a_job_does_not_run_on(terminal: Terminal) -> None:
    terminal.kube.put(PODS, pod(0))
    with pytest.raises(NotFound, match="does not run on node 'x'") as caught:
        terminal.run(f"job node exec {JOB} -n x --exec true")
    assert caught.value.hint == "It runs on node-0."
    with pytest.raises(UsageProblem, match="there is nothing to do"):
        terminal.run(f"job node exec {JOB}")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b'{"status": "Success"}', 0),
        (b'{"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}', 3),
    ],
)
def test_exit_codes(status: bytes, code: int) -> None:
    assert kubestreams.exit_code(status) == code


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (b"", "connection to the pod was lost"),
        (b'{"status": "Failure", "code": 500, "message": "no such container"}', "no such container"),
    ],
)
def test_commands_that_did_not_end(status: bytes, message: str) -> None:
    with pytest.raises(KubeApiError, match=message):
        kubestreams.exit_code(status)


# --- ports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("6006:localhost:8080", forward.Rule("127.0.0.1", 6006, 8080)),
        ("0.0.0.0:0:127.0.0.1:1", forward.Rule("0.0.0.0", 0, 1)),
    ],
)
def test_rules(text: str, rule: forward.Rule) -> None:
    assert forward.parse(text) == rule


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("6006", "is not lport:host:rport"),
        ("1:localhost:0", "is not lport:host:rport"),
        ("70000:localhost:1", "is not lport:host:rport"),
        ("1:10.0.0.9:2", "forwards to the node's pod only, not to '10.0.0.9'"),
    ],
)
def test_rules_that_cannot_be(text: str, sentence: str) -> None:
    with pytest.raises(UsageProblem, match=sentence):
        forward.parse(text)


@contextmanager
def echoing() -> Iterator[forward.Dial]:
    """A pod's port that answers with what it got, once all of it is there, in capitals."""

    def answer(side: socket.socket) -> None:
        with side:
            while not (data := side.recv(1 << 16)).endswith(b"."):
                side.sendall(data.upper())
            side.sendall(data.upper())

    threads = []

    def dial(_port: int) -> Tunnel:
        near, far = socket.socketpair()
        threads.append(threading.Thread(target=answer, args=(far,)))
        threads[-1].start()
        return Tunnel(near, lambda: None)

    yield dial
    for thread in threads:
        thread.join(10)


def test_connections_are_forwarded() -> None:
    said: list[str] = []
    big = b"x" * 300_000 + b"."
    with (
        echoing() as dial,
        forward.forwarding(forward.Rule("127.0.0.1", 0, 6006), dial, said.append) as port,
    ):
        for sent in (b"one.", big):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                got = bytearray()

                def read(connection: socket.socket = connection, got: bytearray = got) -> None:
                    while data := connection.recv(1 << 16):
                        got.extend(data)

                reader = threading.Thread(target=read)
                reader.start()
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)  # the answer must still come
                reader.join(10)
                assert bytes(got) == sent.upper()
    assert said == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_a_connection_that_the_pod_refuses_is_told() -> None:
    said: list[str] = []

    def dial(_port: int) -> Tunnel:
        raise KubeApiError(500, "", "nothing listens")

    with (
        forward.forwarding(forward.Rule("127.0.0.1", 0, 6006), dial, said.append) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        assert connection.recv(1) == b""
    assert said == ["A connection to port 6006 failed: nothing listens (HTTP 500)."]


def test_a_connection_that_the_kubelet_gives_up_is_told() -> None:
    said: list[str] = []

    def dial(_port: int) -> Tunnel:
        near, far = socket.socketpair()
        far.close()
        return Tunnel(near, lambda: "error forwarding port 6006: connection\nrefused")

    with (
        forward.forwarding(forward.Rule("127.0.0.1", 0, 6006), dial, said.append) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        assert connection.recv(1) == b""
    assert said == ["A connection to port 6006 failed: error forwarding port 6006: connection refused"]


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        rule = forward.Rule("127.0.0.1", server.getsockname()[1], 1)
        with (
            pytest.raises(Problem, match="cannot be listened on"),
            forward.forwarding(rule, lambda _: Tunnel(server, lambda: None), print),
        ):
            pass
