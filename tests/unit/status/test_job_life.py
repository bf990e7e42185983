from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.builders import NOW, UID, job, pod_raw

from batchai.api.job import ExecutionInfo, Job
from batchai.plan.directories import JobIdentity
from batchai.schedule.nodes import NodeView
from batchai.status import job as life
from batchai.status.conditions import find, is_true
from batchai.status.pods import Problem


def running_job(**status: Any):
    return job(
        status={
            "executionState": "running",
            "attempt": 1,
            "nodes": ["n1"],
            "executionInfo": {"startTime": "2026-05-04T03:01:30Z"},
            **status,
        }
    )


def observe(subject, *pods, failures=None, dead_nodes=(), faults=(), now=NOW):
    return life.observed(
        subject,
        dict(enumerate(pods)),
        expected=subject.spec.node_count,
        mount_failures=failures or {},
        dead_nodes=dead_nodes,
        faults=faults,
        now=now,
    )


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return pod_raw(
        phase="Failed" if code else "Succeeded",
        terminated={"exitCode": code, "reason": reason, "message": message},
    )


def test_exit_zero_succeeds() -> None:
    step = observe(running_job(), ended(0))
    assert step.status.execution_state == "succeeded"
    assert step.status.execution_info is not None
    assert step.status.execution_info.exit_code == 0
    assert step.status.execution_info.end_time == NOW
    assert step.status.execution_info.errors is None
    assert is_true(step.status.conditions, life.SUCCEEDED)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("phase=toolkit exit=3\nTraceback: boom", "JobFailed"),
        ("phase=preparation exit=3\nno such package", "JobPreparationFailed"),
        ("phase=directories exit=3\nread-only file system", "FailedCreatingDirectories"),
        ("", "JobFailed"),
    ],
)
def test_non_zero_exit_fails_with_its_phase(message: str, code: str) -> None:
    info = observe(running_job(), ended(3, message)).status.execution_info
    assert info is not None
    assert info.exit_code == 3
    assert info.errors is not None
    assert info.errors[0].code == code
    if message:
        assert info.errors[0].details is not None
        assert info.errors[0].details[-1].value == message.split("\n")[1]


def test_image_problem_fails_after_the_grace_with_the_runtime_text() -> None:
    pod = pod_raw(waiting={"reason": "ErrImagePull", "message": "manifest unknown"})
    first = observe(running_job(), pod)
    assert first.status.execution_state == "running"
    assert first.look_again == life.START_GRACE
    blocked = running_job(conditions=[c.model_dump(by_alias=True) for c in first.status.conditions or []])
    early = observe(blocked, pod, now=NOW + timedelta(seconds=20))
    assert early.status.execution_state == "running"
    assert early.look_again == timedelta(seconds=10)
    late = observe(blocked, pod, now=NOW + life.START_GRACE)
    assert late.stop_pods
    assert late.status.execution_state == "failed"
    assert late.status.execution_info is not None
    error = (late.status.execution_info.errors or [])[0]
    assert error.code == "FailedStartingContainer"
    assert {"manifest unknown", "busybox"} <= {detail.value for detail in error.details or []}


@pytest.mark.parametrize(
    ("volume", "code"),
    [
        ("azurefile-0", "AZFMountError"),
        ("blobfs-1", "BFSMountError"),
        ("vault-0", "KeyVaultError"),
        ("nfs-0", "MountError"),
        ("batchai-0b5f1f0e-0000-4000-8000-000000000001-nfs-cluster0", "MountError"),
        ("pvc-17", "MountError"),
    ],
)
def test_mount_problem_names_the_kind_of_storage(volume: str, code: str) -> None:
    failure = f'MountVolume.SetUp failed for volume "{volume}" : rpc error: code = Internal desc = no such share'
    step = observe(running_job(), pod_raw(), failures={"pod-0": failure})
    condition = find(step.status.conditions, life.START_BLOCKED)
    assert condition is not None
    assert condition.reason == code
    assert "no such share" in condition.message


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": {"terminated": {"exitCode": 32, "message": "no such server"}}}, "The mount command failed"),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 32}}},
            "The mount command failed",
        ),
        (
            {"state": {"running": {}}, "started": False, "lastState": {"terminated": {"exitCode": 0}}},
            "The mount command did not end",
        ),
        ({"state": {"running": {}}, "started": True, "lastState": {"terminated": {"exitCode": 32}}}, None),
        ({"state": {"running": {}}, "started": False}, None),
    ],
)
def test_a_mount_command_that_fails_is_a_mount_error(status: dict[str, Any], said: str | None) -> None:
    pod = pod_raw(initContainerStatuses=[{"name": "mount-cluster0", **status}])
    condition = find(observe(running_job(), pod).status.conditions, life.START_BLOCKED)
    if said is None:
        assert condition is None
    else:
        assert condition is not None
        assert condition.reason == "MountError"
        assert said in condition.message


def test_how_a_mount_command_ends_after_the_job_does_not_matter() -> None:
    pod = ended(0)
    pod["status"]["initContainerStatuses"] = [{"name": "mount-0", "state": {"terminated": {"exitCode": 137}}}]
    assert observe(running_job(), pod).status.execution_state == "succeeded"


def test_a_mount_that_hangs_is_a_problem_unless_it_is_a_claims() -> None:
    failure = "Unable to attach or mount volumes: unmounted volumes=[claim-0 nfs-0], unattached volumes=[]: timed out"
    step = observe(running_job(), pod_raw(), failures={"pod-0": failure})
    assert is_true(step.status.conditions, life.START_BLOCKED)


def test_an_old_mount_failure_is_history_once_the_first_container_has_started() -> None:
    init = [{"name": "launcher", "state": {"terminated": {"exitCode": 0}}}]
    pod = pod_raw(initContainerStatuses=init)
    step = observe(running_job(), pod, failures={"pod-0": 'failed for volume "azurefile-0"'})
    assert not is_true(step.status.conditions, life.START_BLOCKED)


@pytest.mark.parametrize(
    ("pod", "failure", "reason"),
    [
        (
            pod_raw(conditions=[{"type": "PodScheduled", "status": "False", "message": "no gpu"}]),
            None,
            "Unschedulable",
        ),
        (pod_raw(), "driver name x not found in the list of registered CSI drivers", "StorageDriverMissing"),
        (
            pod_raw(),
            "Unable to attach or mount volumes: unmounted volumes=[claim-0 claim-1], unattached volumes=[], "
            "failed to process volumes=[]: context deadline exceeded",
            "VolumeNotAttached",
        ),
    ],
)
def test_what_the_cluster_lacks_makes_the_job_wait_and_not_fail(
    pod: dict[str, Any], failure: str | None, reason: str
) -> None:
    step = observe(running_job(), pod, failures={"pod-0": failure} if failure else {})
    condition = find(step.status.conditions, life.STARTED)
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", reason)
    assert not is_true(step.status.conditions, life.START_BLOCKED)


def test_a_problem_that_goes_away_is_forgotten() -> None:
    blocked = observe(running_job(), pod_raw(), failures={"pod-0": "x"})
    again = running_job(conditions=[c.model_dump(by_alias=True) for c in blocked.status.conditions or []])
    step = observe(again, pod_raw(phase="Running", running=True), now=NOW + timedelta(minutes=5))
    assert not is_true(step.status.conditions, life.START_BLOCKED)
    assert is_true(step.status.conditions, life.STARTED)
    assert step.status.execution_state == "running"


@pytest.mark.parametrize(
    "fault",
    [
        {"reason": "Evicted", "message": "low on memory"},
        {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]},
    ],
)
def test_a_fault_of_the_node_requeues(fault: dict[str, Any]) -> None:
    step = observe(running_job(), pod_raw(phase="Failed", **fault))
    assert step.status.execution_state == "queued"
    assert step.status.nodes == []
    assert step.status.attempt == 1
    assert step.stop_pods


@pytest.mark.parametrize(
    ("finished", "code", "state"),
    [
        ("03:09:59", 6, "failed"),
        ("03:09:59", 0, "succeeded"),
        ("03:10:00", 6, "failed"),
        ("03:10:00", 0, "succeeded"),
        ("03:10:00", 143, "queued"),
        ("03:10:20", 0, "queued"),
    ],
)
@pytest.mark.parametrize("by", ["deletion", "eviction"])
def test_a_result_counts_if_it_was_there_before_the_pod_was_asked_to_stop(
    finished: str, code: int, state: str, by: str
) -> None:
    """At 03:10:00, with 30 s of grace."""
    pod = ended(code)
    pod["metadata"] |= {"deletionTimestamp": "2026-05-04T03:10:30Z", "deletionGracePeriodSeconds": 30}
    if by == "eviction":
        condition = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-05-04T03:10:00Z"}
        pod["status"]["conditions"] = [condition]
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = f"2026-05-04T{finished}Z"
    step = observe(running_job(), pod)
    assert step.status.execution_state == state
    if state == "queued":
        assert step.status.waiting is not None
        assert step.status.waiting.reason == {"deletion": "PodDeleted", "eviction": "NodePreempted"}[by]


def test_a_file_system_that_stopped_working_requeues() -> None:
    message = "phase=mounts exit=3 node=n1\nacc/data at /x does not work any more: Transport endpoint is not connected"
    step = observe(running_job(), ended(3, message=message))
    assert (step.status.execution_state, step.status.retries) == ("queued", 1)
    assert step.status.waiting is not None
    assert step.status.waiting.reason == "MountLost"


def test_options_that_are_left_out_are_told_when_the_job_is_accepted() -> None:
    blob = {"accountName": "acc", "containerName": "data", "relativeMountPath": "d", "mountOptions": "-o big_writes"}
    subject = job(mountVolumes={"azureBlobFileSystems": [blob]})
    identity = JobIdentity("s", "ns", "w", "exp", "train", UID)
    accepted = life.accepted(subject, identity, "custom", NOW)
    assert is_true(accepted.conditions, "MountOptionsAdjusted")
    assert not life.accepted(job(), identity, "custom", NOW).conditions


def test_each_fault_makes_the_next_attempt_wait_longer() -> None:
    def pause(retries: int) -> timedelta | None:
        at = life.retry_at(
            job(status={"executionState": "queued", "retries": retries, "executionStateTransitionTime": NOW})
        )
        return at - NOW if at else None

    assert [pause(retries) for retries in range(4)] == [
        None,
        timedelta(seconds=5),
        timedelta(seconds=10),
        timedelta(seconds=20),
    ]


def test_the_last_attempt_is_not_repeated() -> None:
    step = observe(running_job(attempt=4, retries=3), pod_raw(phase="Failed", reason="Evicted"))
    assert step.status.execution_state == "failed"


def test_a_vanished_pod_is_not_a_success() -> None:
    started = observe(running_job(), pod_raw(phase="Running", running=True)).status.conditions or []
    subject = running_job(conditions=[condition.model_dump(by_alias=True) for condition in started])
    assert observe(subject).status.execution_state == "queued"


def test_a_pod_that_is_not_there_yet_changes_nothing() -> None:
    subject = running_job()
    assert observe(subject).status == subject.status


@pytest.mark.parametrize("pods", [(), (ended(143),), (ended(0),)])
def test_terminating_ends_without_exit_code(pods: tuple[dict[str, Any], ...]) -> None:
    status = observe(running_job(executionState="terminating"), *pods).status
    assert status.execution_state == "failed"
    assert status.execution_info is not None
    assert status.execution_info.exit_code is None
    assert (status.execution_info.errors or [])[0].code == "JobTerminated"


def test_terminating_waits_for_the_pod() -> None:
    step = observe(running_job(executionState="terminating"), pod_raw(phase="Running", running=True))
    assert step.status.execution_state == "terminating"
    assert step.stop_pods


def test_deadline_is_told_apart() -> None:
    step = observe(running_job(), pod_raw(phase="Failed", reason="DeadlineExceeded"))
    assert step.status.execution_info is not None
    assert (step.status.execution_info.errors or [])[0].code == "MaxWallClockTimeExceeded"


def test_out_of_memory_is_named() -> None:
    info = observe(running_job(), ended(137, reason="OOMKilled")).status.execution_info
    assert info is not None
    assert (info.errors or [])[0].details is not None


@pytest.mark.parametrize(("code", "reason"), [(255, "Unknown"), (137, "ContainerStatusUnknown")])
def test_a_container_whose_end_nobody_saw_was_lost_with_its_node(code: int, reason: str) -> None:
    """A node that comes back from a crash before Kubernetes gave its pods up says so of what ran there."""
    step = observe(running_job(), ended(code, reason=reason))
    assert (step.status.execution_state, step.status.retries) == ("queued", 1)
    assert step.status.waiting is not None
    assert step.status.waiting.reason == "NodeLost"
    launcher = {"name": "launcher", "state": {"terminated": {"exitCode": code, "reason": reason}}}
    assert observe(running_job(), pod_raw(phase="Failed", initContainerStatuses=[launcher])).status.retries == 1


def test_assignment_begins_the_next_attempt() -> None:
    queued = job(status={"executionState": "queued", "attempt": 1, "queuePosition": 3})
    status = life.assigned(queued, ["a", "b"], NOW)
    assert (status.execution_state, status.attempt, status.nodes) == ("running", 2, ["a", "b"])
    assert status.queue_position is None
    assert status.execution_info is not None
    assert status.execution_info.start_time == NOW


# --- several nodes ------------------------------------------------------------------------------------------------


def two_nodes(**spec: Any):
    return job(
        nodeCount=2,
        status={
            "executionState": "running",
            "attempt": 1,
            "nodes": ["n1", "n2"],
            "attempts": [{"number": 1, "nodes": ["n1", "n2"], "startTime": "2026-05-04T03:01:30Z"}],
        },
        **spec,
    )


def failed(index: int, code: int, message: str, **more: Any) -> dict[str, Any]:
    end = {"exitCode": code, "reason": "Error", "message": message, "finishedAt": "2026-05-04T03:02:00Z"}
    return pod_raw(index, phase="Failed", terminated=end | more)


def asked_to_stop(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod, deleted at 03:02:06."""
    pod["metadata"] |= {"deletionTimestamp": "2026-05-04T03:02:36Z", "deletionGracePeriodSeconds": 30}
    return pod


def stopped(index: int, **end: Any) -> dict[str, Any]:
    """A pod that has ended because it was deleted."""
    return asked_to_stop(
        failed(index, 143, "phase=terminated exit=143", **{"finishedAt": "2026-05-04T03:02:08Z"} | end)
    )


def after(subject: Job, step: life.Step) -> Job:
    return subject.model_copy(update={"status": step.status})


def details(step: life.Step) -> dict[str, str]:
    info = step.status.execution_info
    assert info is not None
    assert info.errors is not None
    return {detail.name: detail.value for detail in info.errors[0].details or []}


def test_a_rank_that_fails_is_named_with_its_node_and_last_words() -> None:
    worker = failed(1, 3, "phase=toolkit exit=3 node=n2 process=rank 1\nboom")
    first = observe(two_nodes(), pod_raw(running=True), worker)
    assert (first.status.execution_state, first.look_again) == ("running", life.SETTLING)
    second = observe(two_nodes(), pod_raw(running=True), worker, now=NOW + life.SETTLING)
    step = observe(after(two_nodes(), second), stopped(0), worker, now=NOW + life.SETTLING)
    assert step.status.execution_state == "failed"
    assert step.status.execution_info is not None
    assert step.status.execution_info.exit_code == 3
    assert details(step) == {"Process": "rank 1", "Node": "n2", "Info": "boom"}


def test_the_master_knows_the_first_failure() -> None:
    told = failed(0, 3, "phase=toolkit exit=3 node=n2 process=rank 1\nboom")
    other = failed(1, 1, "phase=toolkit exit=1 node=n2 process=rank 2\nconnection reset")
    step = observe(two_nodes(), told, other, now=NOW + life.SETTLING)
    assert details(step)["Process"] == "rank 1"


def test_mpi_ranks_name_themselves_on_stderr() -> None:
    text = "Traceback\nbatchai: rank 5 on node n2 ended with exit code 3\nmpirun: something happened"
    step = observe(two_nodes(), failed(0, 3, f"phase=toolkit exit=3 node=n1 process=mpirun\n{text}"), pod_raw(1))
    late = observe(two_nodes(), failed(0, 3, f"phase=toolkit exit=3 node=n1 process=mpirun\n{text}"), now=NOW)
    assert step.status.execution_state == "running"
    assert (details(late)["Process"], details(late)["Node"]) == ("rank 5", "n2")


def test_the_fault_of_a_node_explains_the_failures_of_the_others() -> None:
    evicted = pod_raw(1, phase="Failed", reason="Evicted", message="low on memory")
    step = observe(two_nodes(), failed(0, 1, "phase=toolkit exit=1 node=n1\nconnection reset"), evicted)
    assert step.status.execution_state == "queued"
    assert step.status.attempts is not None
    (attempt,) = step.status.attempts
    assert (attempt.reason, attempt.message, attempt.end_time) == ("NodeLost", "low on memory", NOW)


def mpirun_failed() -> dict[str, Any]:
    return failed(0, 1, "phase=toolkit exit=1 node=n1 process=mpirun\nlost a daemon")


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ([{"type": "DisruptionTarget", "status": "True", "message": "Eviction API: evicting"}], "NodePreempted"),
        ([], "PodDeleted"),
    ],
)
def test_a_pod_that_somebody_deletes_explains_the_failures_of_the_others(
    conditions: list[dict[str, str]], reason: str
) -> None:
    leaving = pod_raw(1, phase="Running", running=True, conditions=conditions)
    leaving["metadata"]["deletionTimestamp"] = "2026-05-04T03:02:40Z"
    step = observe(two_nodes(), mpirun_failed(), leaving)
    assert step.status.execution_state == "queued"
    assert step.status.attempts is not None
    assert step.status.attempts[0].reason == reason


def test_a_pod_that_is_gone_explains_the_failures_of_the_others() -> None:
    both = observe(two_nodes(), pod_raw(running=True), pod_raw(1, running=True)).status.conditions or []
    subject = two_nodes()
    subject = subject.model_copy(update={"status": subject.status.model_copy(update={"conditions": both})})
    step = observe(subject, mpirun_failed(), now=NOW + life.SETTLING)
    assert step.status.execution_state == "queued"
    assert step.status.attempts is not None
    assert step.status.attempts[0].reason == "PodLost"


@pytest.mark.parametrize(("start", "code"), [("03:01:50.9", "MaxWallClockTimeExceeded"), ("03:01:51", "JobFailed")])
def test_the_first_node_that_is_out_of_time_takes_the_others_along(start: str, code: str) -> None:
    """mpirun fails at 03:02:00 because the other node was stopped, whose pod has not quite ended."""
    subject = two_nodes(constraints={"maxWallClockTime": "PT10S"})
    info = ExecutionInfo.model_validate({"startTime": f"2026-05-04T{start}Z"})
    subject = subject.model_copy(update={"status": subject.status.model_copy(update={"execution_info": info})})
    late = NOW + life.SETTLING
    step = observe(subject, mpirun_failed(), pod_raw(1, running=True), now=late)
    if code == "JobFailed":
        step = observe(after(subject, step), mpirun_failed(), stopped(1), now=late)
    info = step.status.execution_info
    assert info is not None
    assert (info.errors or [])[0].code == code


def test_a_pod_given_up_on_a_dead_node_is_lost() -> None:
    gone = pod_raw(1, phase="Running", running=True)
    gone["metadata"]["deletionTimestamp"] = "2026-05-04T03:01:00Z"
    alive = observe(two_nodes(), pod_raw(running=True), gone)
    assert alive.status.execution_state == "running"
    step = observe(two_nodes(), pod_raw(running=True), gone, dead_nodes=["n2"])
    assert step.status.execution_state == "queued"
    assert step.stop_pods


@pytest.fixture
def failing() -> Job:
    """mpirun failed, perhaps because the second node was lost, of which Kubernetes does not know yet."""
    subject = two_nodes()
    step = observe(subject, mpirun_failed(), pod_raw(1, running=True), now=NOW + life.SETTLING)
    assert (step.status.execution_state, step.stop_pods, step.look_again) == ("running", True, life.STOPPING)
    return after(subject, step)


def test_a_failure_waits_until_the_other_nodes_have_stopped(failing: Job) -> None:
    later = NOW + timedelta(seconds=20)
    waits = observe(failing, mpirun_failed(), asked_to_stop(pod_raw(1, running=True)), now=later)
    assert waits.status == failing.status, "nothing to write"
    assert waits.look_again == life.STOPPING - timedelta(seconds=15)
    step = observe(failing, mpirun_failed(), stopped(1), now=later)
    assert step.status.execution_state == "failed"
    assert details(step)["Process"] == "mpirun"
    assert not is_true(step.status.conditions, life.FAILING)


def test_a_failure_whose_other_node_turns_out_to_be_dead_was_its_consequence(failing: Job) -> None:
    silent = asked_to_stop(pod_raw(1, running=True))
    step = observe(failing, mpirun_failed(), silent, dead_nodes=["n2"], now=NOW + timedelta(seconds=45))
    assert (step.status.execution_state, step.status.retries) == ("queued", 1)
    assert step.status.attempts is not None
    assert step.status.attempts[0].reason == "NodeLost"
    assert not is_true(step.status.conditions, life.FAILING)


def test_a_failure_whose_other_node_is_known_to_be_dead_waits_for_no_more() -> None:
    silent = pod_raw(1, running=True) | {"spec": {"nodeName": "n2"}}
    first = observe(two_nodes(), mpirun_failed(), silent, dead_nodes=["n2"], now=NOW + life.SETTLING)
    assert first.status.execution_state == "running"
    subject = after(two_nodes(), first)
    step = observe(subject, mpirun_failed(), asked_to_stop(silent), dead_nodes=["n2"], now=NOW + life.SETTLING)
    assert (step.status.execution_state, step.status.retries) == ("queued", 1)


def test_a_failure_whose_other_node_crashed_and_came_back_was_its_consequence(failing: Job) -> None:
    back = stopped(1, exitCode=255, reason="Unknown")
    step = observe(failing, mpirun_failed(), back, now=NOW + timedelta(seconds=30))
    assert (step.status.execution_state, step.status.retries) == ("queued", 1)


@pytest.mark.parametrize("code", [0, 1, 143])
@pytest.mark.parametrize("at", ["03:02:05", "03:02:06", "03:02:08"])
def test_how_a_stopped_node_ends_says_nothing(code: int, at: str) -> None:
    """The second node failed at 03:02:00; the master was stopped at 03:02:06, and its clock is a little late."""
    worker = failed(1, 3, "phase=toolkit exit=3 node=n2 process=rank 1\nboom")
    first = observe(two_nodes(), pod_raw(running=True), worker, now=NOW + life.SETTLING)
    worker = asked_to_stop(worker)  # by a drain
    master = stopped(0, exitCode=code, finishedAt=f"2026-05-04T{at}Z")
    step = observe(after(two_nodes(), first), master, worker, now=NOW + timedelta(seconds=10))
    assert step.status.execution_state == "failed"
    assert step.status.execution_info is not None
    assert step.status.execution_info.exit_code == 3


def test_a_failure_waits_a_minute_for_a_pod_that_does_not_end(failing: Job) -> None:
    stuck = asked_to_stop(pod_raw(1, running=True))
    late = NOW + life.SETTLING + life.STOPPING
    assert observe(failing, mpirun_failed(), stuck, now=late - timedelta(seconds=1)).status == failing.status
    assert observe(failing, mpirun_failed(), stuck, now=late).status.execution_state == "failed"


def test_a_failure_waits_for_no_node_that_has_not_started() -> None:
    step = observe(two_nodes(), mpirun_failed(), pod_raw(1), now=NOW + life.SETTLING)
    assert step.status.execution_state == "failed"


def test_nodes_that_do_not_find_each_other_try_again() -> None:
    message = "phase=peers exit=124 node=n1\nafter 600 s the job still waits for n2"
    step = observe(two_nodes(), failed(0, 124, message), pod_raw(1))
    assert step.status.execution_state == "queued"
    assert step.status.waiting is not None
    assert step.status.waiting.reason == "NodesUnreachable"


def test_an_end_of_a_node_without_failure_is_no_end_of_the_job() -> None:
    step = observe(two_nodes(), pod_raw(running=True), pod_raw(1, phase="Succeeded", terminated={"exitCode": 0}))
    assert step.status.execution_state == "running"


# --- retry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "state"), [(75, "queued"), (3, "succeeded"), (4, "failed"), (5, "failed")])
def test_exit_codes_may_mean_something(code: int, state: str) -> None:
    rules = [
        {"exitCodes": [75], "action": "retry"},
        {"exitCodes": [3], "action": "succeed"},
        {"exitCodes": [4, 75], "action": "fail"},
    ]
    subject = job(retryPolicy={"rules": rules}, status={"executionState": "running", "attempt": 1, "nodes": ["n1"]})
    step = observe(subject, ended(code))
    assert step.status.execution_state == state


def test_the_limit_of_attempts_is_the_jobs() -> None:
    subject = job(retryPolicy={"limit": 0}, status={"executionState": "running", "attempt": 1, "nodes": ["n1"]})
    assert observe(subject, pod_raw(phase="Failed", reason="Evicted")).status.execution_state == "failed"


def test_waits_between_attempts_have_an_end() -> None:
    subject = job(status={"retries": 60, "executionStateTransitionTime": "2026-05-04T03:00:00Z"})
    assert life.retry_at(subject) == NOW.replace(minute=5, second=0)


# --- nodes that turn bad ------------------------------------------------------------------------------------------


def node(**facts: Any) -> NodeView:
    return NodeView("n1", None, ready=True, schedulable=True, gpus=1, gpus_expected=True, **facts)


def leave(subject: Job, found: NodeView, now: datetime = NOW) -> life.Step:
    fault = life.node_fault(found)
    assert fault is not None
    return observe(subject, pod_raw(phase="Running", running=True), faults=[fault], now=now)


def attempted() -> Job:
    return running_job(attempts=[{"number": 1, "nodes": ["n1"], "startTime": "2026-05-04T03:01:30Z"}])


def test_a_sick_gpu_sends_the_job_elsewhere_for_good() -> None:
    step = leave(attempted(), node(gpu_problem="GPU 0 had XID 79"))
    assert step.stop_pods
    assert (step.status.execution_state, step.status.retries) == ("queued", 1)
    assert step.status.waiting is not None
    assert "XID 79" in step.status.waiting.message
    assert life.avoided_nodes(running_job(**step.status.model_dump(by_alias=True, mode="json"))) == {"n1"}


def test_a_preemption_notice_does_not_count() -> None:
    step = leave(attempted(), node(preempted=True))
    assert (step.status.execution_state, step.status.retries) == ("queued", 0)
    assert step.status.attempts is not None
    assert step.status.attempts[-1].reason == "NodePreempted"
    assert step.status.attempts[-1].faulty_nodes is None


def test_a_device_that_comes_back_in_time_is_forgiven() -> None:
    first = leave(attempted(), node(broken_gpus=1))
    assert (first.status.execution_state, first.look_again) == ("running", life.FAULT_GRACE)
    conditions = [condition.model_dump(by_alias=True) for condition in first.status.conditions or []]
    subject = running_job(conditions=conditions, attempts=attempted().model_dump(by_alias=True)["status"]["attempts"])
    healed = observe(subject, pod_raw(phase="Running", running=True), now=NOW + timedelta(seconds=10))
    assert is_true(healed.status.conditions, life.NODES_HEALTHY)
    late = leave(subject, node(broken_gpus=1), NOW + life.FAULT_GRACE)
    assert late.status.execution_state == "queued"
    assert life.node_fault(node()) is None


def test_a_result_that_is_there_counts_although_the_node_turned_bad() -> None:
    fault = life.node_fault(node(gpu_problem="x"))
    assert fault is not None
    assert observe(running_job(), ended(0), faults=[fault]).status.execution_state == "succeeded"


def test_a_job_that_lost_its_node_to_a_resize_starts_again_at_once() -> None:
    step = life.requeued(attempted(), Problem("NodeDeallocated", "Node n1 was taken from the cluster", {}), NOW)
    assert (step.status.execution_state, step.status.retries) == ("queued", 0)
    assert life.retry_at(running_job(**step.status.model_dump(by_alias=True, mode="json"))) is None


def test_a_pod_that_never_came_to_its_node_is_lost_with_it() -> None:
    waiting = pod_raw(phase="Pending")
    waiting["spec"] = {}
    assert observe(running_job(), waiting).status.execution_state == "running"
    assert observe(running_job(), waiting, dead_nodes=["n1"]).status.execution_state == "queued"
    waiting["spec"] = {"nodeName": "n1"}
    assert observe(running_job(), waiting, dead_nodes=["n1"]).status.execution_state == "running"


def test_a_faulty_node_is_not_forgotten() -> None:
    subject = attempted()
    subject = subject.model_copy(update={"status": leave(subject, node(gpu_problem="XID 79")).status})
    faulty = life.avoided_nodes(subject)
    assert faulty
    for _ in range(15):
        subject = subject.model_copy(update={"status": life.assigned(subject, ["other"], NOW)})
        gone = Problem("NodePreempted", "", {})
        subject = subject.model_copy(update={"status": life.requeued(subject, gone, NOW, counts=False).status})
    assert life.avoided_nodes(subject) == faulty
    assert len(subject.status.attempts or []) == 11


def test_a_retry_prefers_other_nodes() -> None:
    subject = running_job(attempts=[{"number": 1, "nodes": ["n1"], "startTime": "2026-05-04T03:01:30Z"}])
    lost = life.lost(subject, Problem("MountLost", "", {}), NOW).status
    assert life.last_nodes(subject) == frozenset()
    assert life.last_nodes(subject.model_copy(update={"status": lost})) == {"n1"}
