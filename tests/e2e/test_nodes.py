"""Jobs of several nodes, and what happens when one of their nodes or processes fails."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.e2e.jobs import OPERATOR, Cluster, Space, Storage

FAN_OUT = 'for host in $(echo $AZ_BATCH_HOST_LIST | tr , " "); do ssh $host "{command}" || exit; done'
ON_SECOND = "case $(cat /etc/hostname) in *-1) {command};; esac"


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=3)
    yield space
    space.remove()


def error(job: dict[str, Any]) -> dict[str, Any]:
    """The job's first error with its details by name."""
    found: dict[str, Any] = job["status"]["executionInfo"]["errors"][0]
    return found | {"details": {item["name"]: item["value"] for item in found.get("details", [])}}


def ranks(script: str, **settings: Any) -> dict[str, Any]:
    """A process on each node, by a toolkit that starts them itself."""
    return {
        "pyTorchSettings": {"pythonScriptFilePath": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/rank.py", **settings}
        | {"communicationBackend": "tcp"},
        "blobs": {"rank.py": script.encode()},
    }


def test_nodes_reach_each_other_with_everything_that_the_job_has(space: Space) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": space.namespace}}
    space.cluster.apply(secret | {"stringData": {"it": "s3cret'\"$"}})
    job = space.run(
        "fan-out",
        FAN_OUT.format(command='printf \\"%s|\\" \\$AZ_BATCH_NODE_ID \\"\\$OWN\\" \\"\\$TOKEN\\" \\$PWD; echo')
        + "; cat $AZ_BATCHAI_MPI_HOST_FILE",
        nodeCount=3,
        environmentVariables=[{"name": "OWN", "value": "zwei\nZeilen 'ä' $HOME"}],
        secrets=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "it"}}}],
        jobPreparation={"commandLine": "echo prepared"},
    )
    nodes = job["status"]["nodes"]
    work = "/mnt/batch/tasks/shared/LS_root/jobs/work/exp/fan-out/wd"
    lines = space.read_output("fan-out", "stdouterr/stdout.txt").decode()
    said = "".join(f"{node}|zwei\nZeilen 'ä' $HOME|s3cret'\"$|{work}|\n" for node in nodes)
    hosts = "".join(f"fan-out-1-{index}.batchai-fan-out slots=1\n" for index in range(3))
    assert lines == said + hosts
    files = {f"{name}-{node}.{end}" for node in nodes for name, end in (("execution", "log"),)}
    files |= {f"{name}-job_prep-{node}.txt" for node in nodes for name in ("stdout", "stderr")}
    assert set(space.list_output("fan-out", "stdouterr")) == files | {"stdout.txt", "stderr.txt"}
    attempt = job["status"]["attempts"][0]
    assert (attempt["nodes"], attempt["reason"], attempt["exitCode"]) == (nodes, "Completed", 0)


def test_nodes_share_a_directory_and_leave_nothing_in_the_share(space: Space) -> None:
    space.run(
        "share",
        FAN_OUT.format(command="echo \\$AZ_BATCH_NODE_ID >>\\$AZ_BATCHAI_SHARED_JOB_TEMP/f")
        + "; sort -u $AZ_BATCHAI_SHARED_JOB_TEMP/f | wc -l",
        nodeCount=3,
    )
    assert space.read_output("share", "stdouterr/stdout.txt").strip() == b"3"
    assert space.list_output("share", ".") == ["outputs", "stdouterr"]


def test_no_node_starts_before_all_are_prepared(space: Space) -> None:
    slow = ON_SECOND.format(command="sleep 6; echo late >$AZ_BATCHAI_OUTPUT_MODEL/prepared")
    space.run("waits", "cat $AZ_BATCHAI_OUTPUT_MODEL/prepared", nodeCount=2, jobPreparation={"commandLine": slow})
    assert space.read_output("waits", "stdouterr/stdout.txt") == b"late\n"
    node = space.job("waits")["status"]["nodes"][0]
    log = space.read_output("waits", f"stdouterr/execution-{node}.log").decode()
    assert "which prepares itself" in log


def test_preparation_that_fails_on_one_node_fails_the_job(space: Space) -> None:
    fails = ON_SECOND.format(command="echo no disk >&2; exit 7")
    job = space.run("prep-fails", "sleep 60", nodeCount=2, jobPreparation={"commandLine": fails}, succeeds=False)
    found = error(job)
    assert (found["code"], job["status"]["executionInfo"]["exitCode"]) == ("JobPreparationFailed", 7)
    assert found["details"]["Node"] == job["status"]["nodes"][1]
    assert "no disk" in found["details"]["Info"]


def test_a_rank_that_exits_ends_the_job_with_its_name(space: Space) -> None:
    script = "import os,sys,time\nif os.environ['RANK'] == '1':\n  time.sleep(1); sys.exit('it broke')\ntime.sleep(60)"
    job = space.run("rank-exits", None, nodeCount=2, **ranks(script), succeeds=False)
    found, info = error(job), job["status"]["executionInfo"]
    assert (found["code"], info["exitCode"]) == ("JobFailed", 1)
    assert found["details"]["Process"] == "rank 1"
    assert found["details"]["Node"] == job["status"]["nodes"][1]
    assert "it broke" in found["details"]["Info"]
    space.wait_until(
        lambda: all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in space.pods("rank-exits")),
        "no rank hangs",
        30,
    )


FAILS_WITH_ITS_PEER = """
import os, socket, sys, time
rank, first = int(os.environ['RANK']), {first}
if rank == 0:
  peer = socket.create_server(('', 24000)).accept()[0]
else:
  while True:
    try:
      peer = socket.create_connection((os.environ['MASTER_ADDR'], 24000))
      break
    except OSError:
      time.sleep(0.1)
if rank == first:
  print('the cause', file=sys.stderr)
  sys.exit(75)
peer.recv(1)
time.sleep(0.3)
sys.exit('the peer is gone')
"""


@pytest.mark.parametrize("first", [0, 1])
def test_of_several_failures_the_first_one_counts(space: Space, first: int) -> None:
    script = FAILS_WITH_ITS_PEER.format(first=first)
    job = space.run(f"fails-first-{first}", None, nodeCount=2, **ranks(script), succeeds=False)
    found, info = error(job), job["status"]["executionInfo"]
    assert (found["details"]["Process"], info["exitCode"]) == (f"rank {first}", 75)
    assert found["details"]["Info"] == "the cause"


def test_a_rank_that_is_killed_for_memory_is_told_apart(space: Space) -> None:
    limit = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "memory", "namespace": space.namespace},
        "spec": {"limits": [{"type": "Container", "default": {"memory": "96Mi"}}]},
    }
    script = "import os,time\nif os.environ['RANK'] == '1':\n  x = b'x' * 300_000_000\ntime.sleep(60)"
    space.cluster.apply(limit)
    try:
        job = space.run("memory", None, nodeCount=2, **ranks(script), succeeds=False)
    finally:
        space.cluster.kubectl("delete", "limitrange", "memory", "-n", space.namespace)
    found = error(job)
    assert (found["code"], job["status"]["executionInfo"]["exitCode"]) == ("JobFailed", 137)
    assert "OOMKilled" in found["details"]["Reason"]


# os.write, because a signal may come while a print still holds the stream.
OBEDIENT = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'stopped\\n'), os._exit(0)))
print('up', flush=True)
time.sleep(60)
"""


def wait_for_ranks(space: Space, name: str) -> None:
    """Until both ranks of a job of two nodes have begun."""
    for rank in range(2):
        space.wait_until(
            lambda rank=rank: (space.try_read_output(name, f"stdouterr/stdout-{rank}.txt") or b"").startswith(b"up\n"),
            f"rank {rank}",
        )


def test_terminate_reaches_every_process_of_every_node(space: Space) -> None:
    space.submit("stops", None, nodeCount=2, **ranks(OBEDIENT))
    wait_for_ranks(space, "stops")
    space.terminate("stops")
    job = space.finished("stops")
    assert error(job)["code"] == "JobTerminated"
    for rank in range(2):
        space.wait_until(
            lambda rank=rank: space.read_output("stops", f"stdouterr/stdout-{rank}.txt") == b"up\nstopped\n",
            f"rank {rank} was told",
        )


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'told\\n'))
print('up', flush=True)
while True:
    time.sleep(0.1)
    print('on', flush=True)
"""


def test_delete_kills_after_the_grace_period_what_ignores_sigterm(space: Space) -> None:
    space.submit("stubborn", None, nodeCount=2, terminationGracePeriodSeconds=4, **ranks(STUBBORN))
    wait_for_ranks(space, "stubborn")
    status = space.job("stubborn")["status"]
    logs = f"{status['jobOutputDirectoryPathSegment']}/stdouterr"
    space.cluster.kubectl("delete", "bjob", "stubborn", "-n", space.namespace, "--timeout=30s")
    space.wait_until(lambda: not space.pods("stubborn"), "the pods are gone")
    for rank, node in enumerate(status["nodes"]):
        before, told, after = space.read_share(f"{logs}/stdout-{rank}.txt").decode().partition("told\n")
        assert told, f"rank {rank} got SIGTERM"
        assert "told" not in after, "once"
        assert before.startswith("up\n")
        assert after.count("on\n") > 10, "the rank was left its time, and what it wrote in it is there"
        log = space.read_share(f"{logs}/execution-{node}.log").decode()
        assert "asked to stop: SIGTERM, after 4 s SIGKILL" in log
        assert "exits with code 137" in log


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_runs_too_long_ends_on_every_node(space: Space, count: int) -> None:
    name = f"long-{count}"
    limit = {"maxWallClockTime": "PT15S"}
    job = space.run(name, None, nodeCount=count, constraints=limit, **ranks(OBEDIENT), succeeds=False)
    info = job["status"]["executionInfo"]
    assert error(job)["code"] == "MaxWallClockTimeExceeded"
    assert "exitCode" not in info
    took = datetime.fromisoformat(info["endTime"]) - datetime.fromisoformat(info["startTime"])
    # A kubelet counts from whole seconds.
    assert timedelta(seconds=14) <= took < timedelta(seconds=30)
    assert [attempt["reason"] for attempt in job["status"]["attempts"]] == ["MaxWallClockTimeExceeded"]
    space.wait_until(
        lambda: all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in space.pods(name)), "every node's end"
    )
    for rank in range(count):
        assert space.read_output(name, f"stdouterr/stdout-{rank}.txt") == b"up\nstopped\n"


@pytest.mark.parametrize("index", [0, 1])
def test_a_pod_that_is_evicted_is_no_failure_of_the_job(space: Space, index: int) -> None:
    name = f"evicted-{index}"
    # When the second node goes, the first one's process fails: ssh ends with a code of its own.
    command = '[ -z "$AZ_BATCHAI_PREV_OUTPUT_MODEL" ] || exit 0; ssh ${AZ_BATCH_HOST_LIST#*,} "echo up; sleep 600"'
    space.submit(name, command, nodeCount=2)
    space.wait_until(lambda: space.try_read_output(name, "stdouterr/stdout.txt") == b"up\n", "both nodes work")
    pod = f"{name}-1-{index}"
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": space.namespace},
    }
    path = f"/api/v1/namespaces/{space.namespace}/pods/{pod}/eviction"
    space.cluster.kubectl("create", "--raw", path, "-f", "-", data=json.dumps(eviction))
    status = space.finished(name)["status"]
    assert (status["executionState"], status["attempt"]) == ("succeeded", 2)
    first, second = status["attempts"]
    assert (first["reason"], second["reason"]) == ("NodePreempted", "Completed")
    assert "Eviction" in first["message"]
    assert "exitCode" not in first


def test_a_peer_that_may_not_come_up_fails_the_job_with_the_reason(space: Space) -> None:
    space.cluster.kubectl("delete", "pods", "--all", "-n", space.namespace)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "pods", "namespace": space.namespace},
        "spec": {"hard": {"count/pods": "1"}},
    }
    space.cluster.apply(quota)
    try:
        space.wait_until(
            lambda: "used" in space.cluster.get("resourcequota", "pods", space.namespace).get("status", {}), "the quota"
        )
        job = space.run("quota", "true", nodeCount=2, succeeds=False)
    finally:
        space.cluster.kubectl("delete", "resourcequota", "pods", "-n", space.namespace)
    assert error(job)["code"] == "FailedStartingContainer"
    assert "exceeded quota" in error(job)["details"]["Info"]


def test_a_peer_that_does_not_answer_is_named_after_the_deadline(space: Space) -> None:
    deaf = ON_SECOND.format(command="kill $(cat /opt/batchai/state/ssh.pid)")
    job = space.run(
        "deaf",
        "true",
        nodeCount=2,
        jobPreparation={"commandLine": deaf},
        peerTimeoutSeconds=4,
        retryPolicy={"limit": 0},
        succeeds=False,
    )
    assert error(job)["code"] == "NodesUnreachable"
    assert f"waits for {job['status']['nodes'][1]}" in error(job)["details"]["Info"]


def test_every_task_of_tensorflow_knows_the_cluster_with_its_chief(space: Space) -> None:
    script = "import os, sys, time\nprint(os.environ['TF_CONFIG'], flush=True)\ntime.sleep(int(sys.argv[1]))"
    settings = {
        "pythonScriptFilePath": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/task.py",
        "masterCommandLineArgs": "2",
        "workerCommandLineArgs": "0",
        "parameterServerCommandLineArgs": "600",
        "chief": True,
    }
    space.run("chief", None, nodeCount=2, tensorFlowSettings=settings, blobs={"task.py": script.encode()})
    first, second = (f"chief-1-{index}.batchai-chief" for index in range(2))
    cluster = {"chief": [f"{first}:2223"], "ps": [f"{first}:2222"], "worker": [f"{second}:2222"]}
    for file, task in (("wk-0", "chief"), ("wk-1", "worker"), ("ps-0", "ps")):
        told = json.loads(space.read_output("chief", f"stdouterr/stdout-{file}.txt"))
        assert told == {"cluster": cluster, "task": {"type": task, "index": 0}, "environment": "cloud"}


def test_a_lost_node_requeues_the_job_on_the_others(space: Space) -> None:
    command = 'echo attempt >>$AZ_BATCHAI_OUTPUT_MODEL/tries; [ -n "$AZ_BATCHAI_PREV_OUTPUT_MODEL" ] || sleep 600'
    space.submit("node-lost", command, nodeCount=2)
    space.wait_until(
        lambda: len([pod for pod in space.pods("node-lost") if pod["status"]["phase"] == "Running"]) == 2, "both run"
    )
    operators = {pod["spec"]["nodeName"] for pod in space.cluster.list("pods", OPERATOR)}
    lost = next(node for node in space.job("node-lost")["status"]["nodes"] if node not in operators)
    with kubelet_stopped(lost):
        space.wait_until(lambda: space.job("node-lost")["status"]["attempt"] == 2, "another attempt", 180)
        job = space.finished("node-lost")
    assert job["status"]["executionState"] == "succeeded"
    first, second = job["status"]["attempts"]
    assert (first["reason"], lost in first["message"]) == ("NodeLost", True)
    assert lost not in second["nodes"]
    assert space.read_output("node-lost", "outputs/tries") == b"attempt\nattempt\n"


@contextmanager
def kubelet_stopped(node: str) -> Iterator[None]:
    subprocess.run(["docker", "exec", node, "systemctl", "stop", "kubelet"], check=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "exec", node, "systemctl", "start", "kubelet"], check=True)
        Space.wait_until(
            lambda: (
                "True"
                in subprocess.run(
                    ["kubectl", "get", "node", node, "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            ),
            f"{node} is back",
        )


def test_exit_codes_of_the_jobs_choice_start_it_again(space: Space) -> None:
    command = '[ -n "$AZ_BATCHAI_PREV_OUTPUT_MODEL" ] || exit 75; ls -d "$AZ_BATCHAI_PREV_OUTPUT_MODEL"'
    job = space.run("again", command, retryPolicy={"rules": [{"exitCodes": [75], "action": "retry"}]})
    first, second = job["status"]["attempts"]
    assert (first["exitCode"], first["reason"], second["reason"]) == (75, "JobFailed", "Completed")


def test_restricted_jobs_are_not_root_and_still_reach_each_other(space: Space) -> None:
    level = "pod-security.kubernetes.io/enforce"
    space.cluster.kubectl("label", "namespace", space.namespace, f"{level}=restricted")
    try:
        space.run("restricted", FAN_OUT.format(command="id -u; touch ~/x"), nodeCount=2, podSecurity="restricted")
    finally:
        space.cluster.kubectl("label", "namespace", space.namespace, f"{level}-")
    assert space.read_output("restricted", "stdouterr/stdout.txt") == b"1000\n1000\n"


@pytest.mark.parametrize(("image", "shell"), [("bare", "busybox"), ("ash", "ash")])
def test_images_with_next_to_nothing(space: Space, image: str, shell: str) -> None:
    container = {"imageSourceRegistry": {"image": f"batchai-test/{image}:dev"}}
    name = f"image-{image}"
    space.run(name, FAN_OUT.format(command="echo \\$AZ_BATCH_NODE_ID"), nodeCount=2, containerSettings=container)
    said = space.read_output(name, "stdouterr/stdout.txt").decode().split()
    assert said == space.job(name)["status"]["nodes"]
