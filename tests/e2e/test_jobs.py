"""What a job does on the real cluster, and how every bad thing is answered."""

import json
import subprocess
from datetime import datetime

import pytest
from tests.e2e.jobs import UNTIL_TOLD, Space

SCRIPT = "echo to-stdout; echo to-stderr >&2; echo model > $AZ_BATCHAI_OUTPUT_MODEL/m.txt"
NO_IMAGE = "localhost:1/no/such:image"


@pytest.fixture(scope="module", autouse=True)
def never_start(space: Space) -> None:
    """Jobs that cannot start. Each takes its 30 s, so they have nodes of their own and are looked at later."""
    share, container = space.mount_volumes(), space.mount_volumes()
    url = share["azureFileShares"][0]["azureFileUrl"]
    share["azureFileShares"].append(
        {**share["azureFileShares"][0], "azureFileUrl": f"{url}-none", "relativeMountPath": "none"}
    )
    container["azureBlobFileSystems"][0]["containerName"] = "no-such-container"
    # As the pod of a deleted job of the same name on a node that does not answer.
    pod = {"schedulingGates": [{"name": "batchai.dev/test"}], "containers": [{"name": "c", "image": "none"}]}
    metadata = {"name": "taken-1-0", "namespace": space.namespace}
    space.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    space.make_cluster("failing", {"manual": {"targetNodeCount": 2}})
    settings = {"imageSourceRegistry": {"image": NO_IMAGE}}
    space.submit("no-share", "true", cluster="failing", mountVolumes=share)
    space.submit("no-container", "true", cluster="failing", mountVolumes=container)
    space.submit("no-image", "true", cluster="failing", containerSettings=settings)
    space.submit("taken", "true", cluster="failing")


def test_files_and_container_log_have_the_same_bytes(space: Space) -> None:
    job = space.run("bytes", "printf 'a\\0b\\n\\377\\n'; printf 'err\\n' >&2")
    assert job["status"]["executionInfo"]["exitCode"] == 0
    assert space.read_output("bytes", "stdouterr/stdout.txt") == b"a\0b\n\xff\n"
    assert space.read_output("bytes", "stdouterr/stderr.txt") == b"err\n"
    log = subprocess.run(
        ["kubectl", "logs", "-n", space.namespace, "bytes-1-0", "-c", "job"], check=True, capture_output=True
    )
    assert sorted(log.stdout.splitlines()) == [b"a\0b", b"err", b"\xff"]


def test_outputs_and_directories_of_the_reference(space: Space) -> None:
    job = space.run(
        "paths",
        'echo "$AZ_BATCHAI_INPUT_DATA" > "$AZ_BATCHAI_OUTPUT_MODEL/in"; cat "$AZ_BATCHAI_INPUT_DATA/x" '
        '> "$AZ_BATCHAI_OUTPUT_MODEL/data"; pwd; env',
        inputDirectories=[{"id": "DATA", "path": "$AZ_BATCHAI_JOB_MOUNT_ROOT/data/in put"}],
        environmentVariables=[{"name": "OWN", "value": "$(OWN) 'ä' $HOME"}],
        blobs={"in put/x": b"from blob"},
    )
    segment = job["status"]["jobOutputDirectoryPathSegment"]
    system = space.cluster.get("namespace", "kube-system")["metadata"]["uid"]
    uid = job["metadata"]["uid"]
    assert segment == (f"{system}/{space.namespace}/workspaces/work/experiments/exp/jobs/paths/{uid}")
    assert space.read_output("paths", "outputs/data") == b"from blob"
    lines = space.read_output("paths", "stdouterr/stdout.txt").decode().splitlines()
    temp = "/mnt/batch/tasks/shared/LS_root/jobs/work/exp/paths"
    assert lines[0] == f"{temp}/wd"
    environment = dict(line.split("=", 1) for line in lines[1:] if "=" in line)
    assert environment["AZ_BATCHAI_JOB_TEMP"] == temp
    assert environment["AZ_BATCHAI_JOB_MOUNT_ROOT"] == f"{temp}/mounts"
    assert environment["AZ_BATCHAI_SHARED_JOB_TEMP"] == f"{temp}/shared"
    assert environment["AZ_BATCHAI_NUM_GPUS"] == "1"
    assert environment["AZ_BATCHAI_OUTPUT_MODEL"] == f"{temp}/mounts/logs/{segment}/outputs"
    assert environment["AZ_BATCHAI_STDOUTERR_DIR"] == f"{temp}/mounts/logs/{segment}/stdouterr"
    assert environment["OWN"] == "$(OWN) 'ä' $HOME"
    assert not [name for name in environment if name.startswith("BATCHAI_LAUNCH_")]
    assert space.list_output("paths", "stdouterr") == ["execution.log", "stderr.txt", "stdout.txt"]
    log = space.read_output("paths", "stdouterr/execution.log").decode()
    assert "logs" in log
    assert "T" in log.split()[0]


def test_logs_stream_while_the_job_runs(space: Space) -> None:
    space.submit("stream", "for i in 1 2 3 4 5 6 7 8 9 10; do echo line-$i; sleep 1; done")
    space.wait_for_state("stream", "running")
    space.wait_until(
        lambda: b"line-2" in (space.try_read_output("stream", "stdouterr/stdout.txt") or b""),
        "stdout.txt grows",
    )
    assert space.state("stream") == "running"
    followed = subprocess.run(
        ["kubectl", "logs", "-f", "-n", space.namespace, "stream-1-0", "-c", "job"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert b"line-10" in followed.stdout
    assert space.finished("stream")["status"]["executionState"] == "succeeded"


def test_exit_code_and_stderr_reach_the_status(space: Space) -> None:
    job = space.run("exits", "echo 'it broke' >&2; exit 42", succeeds=False)
    info = job["status"]["executionInfo"]
    assert job["status"]["executionState"] == "failed"
    assert info["exitCode"] == 42
    assert info["errors"][0]["code"] == "JobFailed"
    assert "it broke" in json.dumps(info["errors"][0]["details"])
    assert info["startTime"] <= info["endTime"]


def test_job_preparation_runs_first_and_its_failure_is_told(space: Space) -> None:
    space.run(
        "prepared",
        "cat $AZ_BATCHAI_JOB_TEMP/p",
        jobPreparation={"commandLine": "echo prep | tee $AZ_BATCHAI_JOB_TEMP/p"},
    )
    assert space.read_output("prepared", "stdouterr/stdout.txt") == b"prep\n"
    assert space.read_output("prepared", "stdouterr/stdout-job_prep.txt") == b"prep\n"
    job = space.run("unprepared", "echo no", jobPreparation={"commandLine": "exit 7"}, succeeds=False)
    assert job["status"]["executionInfo"]["exitCode"] == 7
    assert job["status"]["executionInfo"]["errors"][0]["code"] == "JobPreparationFailed"


@pytest.mark.parametrize(
    ("name", "code", "text", "hint"),
    [
        ("share", "AZFMountError", "No such file or directory", "-none does not exist in account"),
        ("container", "BFSMountError", "does not exist", "the container does not exist in the account"),
    ],
)
def test_missing_storage_fails_within_a_minute(space: Space, name: str, code: str, text: str, hint: str) -> None:
    status = space.finished(f"no-{name}", seconds=180)["status"]
    started, ended = (
        datetime.fromisoformat(text)
        for text in (status["attempts"][0]["startTime"], status["executionInfo"]["endTime"])
    )
    assert (ended - started).total_seconds() < 60
    error = status["executionInfo"]["errors"][0]
    assert error["code"] == code
    assert text in json.dumps(error["details"])
    assert hint in error["message"]


def test_image_that_cannot_be_pulled_fails_with_the_runtimes_text(space: Space) -> None:
    error = space.finished("no-image", seconds=180)["status"]["executionInfo"]["errors"][0]
    assert error["code"] == "FailedStartingContainer"
    details = {detail["name"]: detail["value"] for detail in error["details"]}
    assert details["imageName"] == NO_IMAGE
    assert "localhost:1" in details["Info"]


def test_missing_secret_waits_by_name_and_runs_when_it_appears(space: Space) -> None:
    volumes = space.mount_volumes()
    for mounts in volumes.values():
        for mount in mounts:
            mount["credentials"] = {"secretRef": {"name": "late"}}
    space.submit("patient", SCRIPT, mountVolumes=volumes)
    space.wait_until(
        lambda: (space.job("patient").get("status", {}).get("waiting") or {}).get("reason") == "SecretNotFound",
        "the job waits for its Secret",
    )
    status = space.job("patient")["status"]
    assert "late" in status["waiting"]["message"]
    condition = next(item for item in status["conditions"] if item["type"] == "Waiting")
    assert (condition["status"], condition["reason"]) == ("True", "SecretNotFound")
    assert space.cluster.get("bcluster", "nc6", space.namespace)["status"]["nodeStateCounts"]["runningNodeCount"] == 0
    space.make_secret("late")
    assert space.finished("patient")["status"]["executionState"] == "succeeded"


def test_two_jobs_on_one_node_queue(space: Space) -> None:
    space.submit("first", UNTIL_TOLD)
    space.wait_for_state("first", "running")
    space.submit("second", "true")
    space.wait_until(
        lambda: "first" in (space.job("second").get("status", {}).get("waiting") or {}).get("message", ""),
        "the second job says whom it waits for",
    )
    assert space.job("second")["status"]["queuePosition"] == 1
    space.tell("first")
    assert space.finished("first")["status"]["executionState"] == "succeeded"
    second = space.finished("second")["status"]
    first = space.job("first")["status"]
    assert second["executionState"] == "succeeded"
    assert second["executionInfo"]["startTime"] >= first["executionInfo"]["endTime"]
    assert "queuePosition" not in second


def test_terminate_while_queued_and_while_running(space: Space) -> None:
    space.submit("busy", "trap 'echo stopped; exit 0' TERM; echo up; while :; do sleep 0.2; done")
    space.wait_for_state("busy", "running")
    space.submit("idle", "true")
    space.wait_for_state("idle", "queued")
    space.terminate("idle")
    queued = space.finished("idle")["status"]
    assert queued["executionState"] == "failed"
    assert queued["executionInfo"]["errors"][0]["code"] == "JobTerminated"
    space.wait_until(lambda: b"up" in (space.try_read_output("busy", "stdouterr/stdout.txt") or b""), "the job writes")
    space.terminate("busy")
    running = space.finished("busy")["status"]
    assert running["executionState"] == "failed"
    assert running["executionInfo"]["errors"][0]["code"] == "JobTerminated"
    assert "exitCode" not in running["executionInfo"]
    assert b"stopped" in space.read_output("busy", "stdouterr/stdout.txt")
    space.wait_until(lambda: not space.pods("busy"), "the pod is gone")


def test_delete_stops_the_pods_and_keeps_the_files(space: Space) -> None:
    space.submit("doomed", f"{SCRIPT}; sleep 600", terminationGracePeriodSeconds=2)
    space.wait_until(lambda: space.try_read_output("doomed", "outputs/m.txt") is not None, "the model is written")
    segment = space.job("doomed")["status"]["jobOutputDirectoryPathSegment"]
    space.cluster.kubectl("delete", "bjob", "doomed", "-n", space.namespace, "--timeout=30s")
    space.wait_until(lambda: not space.pods("doomed"), "the pods are gone")
    assert space.read_share(f"{segment}/outputs/m.txt") == b"model\n"
    assert space.run("after", "true")["status"]["executionState"] == "succeeded"


SHOW = "import os; print(os.environ['RANK'], os.environ['WORLD_SIZE'], os.environ['AZ_BATCHAI_TASK_INDEX'])"


def test_processes_of_a_toolkit_have_their_own_variables_and_files(space: Space) -> None:
    settings = {
        "pythonInterpreterPath": "python3",
        "pythonScriptFilePath": "$AZ_BATCHAI_JOB_TEMP/show it.py",
        "communicationBackend": "gloo",
        "processCount": 2,
    }
    prepare = {"commandLine": f'echo "{SHOW}" >"$AZ_BATCHAI_JOB_TEMP/show it.py"'}
    job = space.run("ranks", None, pyTorchSettings=settings, jobPreparation=prepare)
    assert job["status"]["toolType"] == "pytorch"
    assert space.read_output("ranks", "stdouterr/stdout-0.txt") == b"0 2 0\n"
    assert space.read_output("ranks", "stdouterr/stdout-1.txt") == b"1 2 1\n"


def test_parameter_servers_end_with_the_master(space: Space) -> None:
    settings = {
        "pythonInterpreterPath": "sh",
        "pythonScriptFilePath": "$AZ_BATCHAI_JOB_TEMP/task",
        "masterCommandLineArgs": "'sleep 1; echo $TF_CONFIG'",
        "parameterServerCommandLineArgs": "'sleep 600'",
        "parameterServerCount": 1,
    }
    prepare = {"commandLine": """echo 'eval "$1"' >$AZ_BATCHAI_JOB_TEMP/task"""}
    job = space.run("servers", None, tensorFlowSettings=settings, jobPreparation=prepare)
    assert job["status"]["toolType"] == "tensorflow"
    configuration = json.loads(space.read_output("servers", "stdouterr/stdout-wk-0.txt"))
    assert configuration["task"] == {"type": "worker", "index": 0}
    assert configuration["cluster"] == {"ps": ["servers-1-0:2222"], "worker": ["servers-1-0:2223"]}
    assert space.read_output("servers", "stdouterr/stdout-ps-0.txt") == b""


def test_images_without_shell_python_or_coreutils_work(space: Space) -> None:
    settings = {"imageSourceRegistry": {"image": "batchai/launcher:0.1.0"}}
    job = space.run("bare", "echo from nothing", containerSettings=settings)
    assert job["status"]["executionState"] == "succeeded"
    assert space.read_output("bare", "stdouterr/stdout.txt") == b"from nothing\n"


def test_what_this_version_does_not_run_is_refused_at_once(space: Space) -> None:
    vault = {"sourceVault": {"id": "vault"}, "secretUrl": "https://vault.example/secrets/x"}
    space.submit("vault", "true", secrets=[{"name": "X", "valueSecretReference": vault}])
    status = space.finished("vault")["status"]
    assert status["executionInfo"]["errors"][0]["code"] == "InvalidJob"
    assert "spec.secrets[0]" in status["executionInfo"]["errors"][0]["message"]


def test_a_job_larger_than_its_cluster_is_told_so(space: Space) -> None:
    space.submit("wide", "true", nodeCount=2)
    space.wait_until(
        lambda: space.job("wide").get("status", {}).get("waiting", {}).get("reason") == "ClusterTooSmall", "the reason"
    )
    space.terminate("wide")
    assert space.finished("wide")["status"]["executionInfo"]["errors"][0]["code"] == "JobTerminated"


def test_killing_the_operator_changes_nothing(space: Space) -> None:
    space.submit("survivor", f"{SCRIPT}; sleep 12; exit 5")
    space.wait_for_state("survivor", "running")
    space.wait_until(lambda: space.pods("survivor"), "the pod exists")
    before = {pod["metadata"]["uid"] for pod in space.pods("survivor")}
    space.kill_operator()
    space.wait_until(lambda: space.try_read_output("survivor", "outputs/m.txt") is not None, "the job works")
    space.kill_operator()
    status = space.finished("survivor")["status"]
    assert status["executionInfo"]["exitCode"] == 5
    assert status["attempt"] == 1
    assert {pod["metadata"]["uid"] for pod in space.pods("survivor")} == before


def test_a_pod_of_somebody_else_that_has_the_name_is_told(space: Space) -> None:
    [error] = space.finished("taken", seconds=180)["status"]["executionInfo"]["errors"]
    assert error["code"] == "NameTaken"
    assert error["message"] == f"Pod {space.namespace}/taken-1-0 exists and belongs to somebody else"
    assert "labels" not in space.cluster.get("pod", "taken-1-0", space.namespace)["metadata"]
    space.cluster.kubectl("delete", "pod", "taken-1-0", "-n", space.namespace)


def test_a_pod_that_is_deleted_runs_again(space: Space) -> None:
    command = "[ -e $AZ_BATCHAI_OUTPUT_MODEL/first ] && exit 0; touch $AZ_BATCHAI_OUTPUT_MODEL/first; sleep 600"
    space.submit("again", command)
    space.wait_until(lambda: space.try_read_output("again", "outputs/first") is not None, "the first attempt works")
    space.cluster.kubectl("delete", "pod", "again-1-0", "-n", space.namespace, "--grace-period=0", "--force")
    status = space.finished("again")["status"]
    assert status["executionState"] == "succeeded"
    assert status["attempt"] == 2


def test_a_result_waits_for_the_operator(space: Space) -> None:
    space.submit("absent", "sleep 3; exit 6")
    space.wait_until(lambda: space.pods("absent"), "the pod exists")
    with space.operator_stopped():
        space.wait_until(lambda: space.pods("absent")[0]["status"]["phase"] == "Failed", "the pod ends on its own")
        space.cluster.kubectl("delete", "pod", "absent-1-0", "-n", space.namespace, "--wait=false")
        assert space.state("absent") == "running"
    status = space.finished("absent")["status"]
    assert status["executionInfo"]["exitCode"] == 6
