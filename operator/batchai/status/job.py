"""The life of a job as transitions of its status (Batch AI reference §1.5).

    queued → running → succeeded | failed
             running → terminating → failed         (terminate)
             running → queued                       (the node was lost; another attempt)

Every function returns a new status; none of them remembers or asks anything.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from batchai.api.base import Condition
from batchai.api.durations import parse_duration
from batchai.api.job import (
    TERMINAL_STATES,
    ErrorDetail,
    ExecutionInfo,
    Job,
    JobAttempt,
    JobError,
    JobStatus,
    Waiting,
)
from batchai.plan.directories import JobIdentity
from batchai.schedule.nodes import NodeView
from batchai.status.conditions import find, is_false, is_true, shorten, with_condition
from batchai.status.mounts import with_adjusted_options
from batchai.status.pods import (
    OUT_OF_TIME,
    POD_DELETED,
    Outcome,
    PodObject,
    Problem,
    delay,
    disruption,
    finished_at,
    outcome,
    start_problem,
    started,
    unreachable,
)

ExecutionState = Literal["queued", "running", "terminating", "succeeded", "failed"]

START_GRACE = timedelta(seconds=30)
"""How long a mount or an image may fail before the job does: the kubelet tries again in between."""
RETRY_DELAY = timedelta(seconds=5)
"""How long a job waits after its first fault; twice as long after each further one."""
MAX_RETRY_DELAY = timedelta(minutes=5)
FAULT_GRACE = timedelta(seconds=30)
"""How long a node may lack its GPUs before the job leaves it: a device plugin that restarts looks the same."""
SETTLING = timedelta(seconds=5)
"""How long the first failure of a job of several nodes waits for news of the other nodes, which may be its cause."""
STOPPING = timedelta(seconds=60)
"""How long a failed job's other pods may take to end: Kubernetes knows of a node that is lost after 40 to 50 s."""
_KEPT_ATTEMPTS = 10
_DETAIL_LIMIT = 2000

WAITING = "Waiting"
START_BLOCKED = "StartBlocked"
STARTED = "Started"
RUNNING = "Running"
NODES_HEALTHY = "NodesHealthy"
FAILING = "Failing"
SUCCEEDED = "Succeeded"
FAILED = "Failed"


@dataclass(frozen=True)
class Step:
    """What follows from an observation: the status to write, and whether the attempt's pods must go.

    stop_pods: while the job is running or terminating their ends are waited for, else they are given up.
    look_again: when to look again although nothing may have happened.
    """

    status: JobStatus
    stop_pods: bool = False
    look_again: timedelta | None = None


@dataclass(frozen=True)
class NodeFault:
    """Why a job must leave one of its nodes although its pods run there.

    counts: the attempt counts against retryPolicy.limit; faulty: later attempts stay away from the node; passing: it
    may be over in FAULT_GRACE.
    """

    node: str
    problem: Problem
    counts: bool = True
    faulty: bool = False
    passing: bool = False


def node_fault(node: NodeView) -> NodeFault | None:
    """What a node of a running job says of itself; whether it answers at all is told by its pods."""
    text = f"Node {node.name} {node.problem}"
    if node.preempted:
        problem = Problem("NodePreempted", f"Node {node.name} is about to be preempted", {})
        return NodeFault(node.name, problem, counts=False)
    if node.gpu_problem is not None:
        return NodeFault(node.name, Problem("GpuUnhealthy", text, {"Node": node.name}), faulty=True)
    if node.ready and node.broken_gpus:
        return NodeFault(node.name, Problem("GpuUnhealthy", text, {"Node": node.name}), faulty=True, passing=True)
    return None


def avoided_nodes(job: Job) -> frozenset[str]:
    """The nodes whose hardware ended an attempt of the job."""
    return frozenset(node for attempt in job.status.attempts or [] for node in attempt.faulty_nodes or [])


def last_nodes(job: Job) -> frozenset[str]:
    """The nodes of the attempt that a fault ended last: what broke it may have been theirs."""
    attempts = job.status.attempts or []
    return frozenset(attempts[-1].nodes) if attempts and job.status.retries else frozenset()


def is_terminal(job: Job) -> bool:
    """The job has ended; nothing about its execution changes any more."""
    return job.status.execution_state in TERMINAL_STATES


def has_started(job: Job) -> bool:
    """Every container of the current attempt has started at some time."""
    return is_true(job.status.conditions, STARTED)


def retry_at(job: Job) -> datetime | None:
    """When a job that a fault put back into the queue may start again; None for one that may start at once.

    What broke the attempt (a rebooting node, a device that is gone) is often still broken at once.
    """
    retries = job.status.retries or 0
    since = job.status.execution_state_transition_time
    if retries == 0 or since is None:
        return None
    return since + min(RETRY_DELAY * 2.0 ** min(retries - 1, 10), MAX_RETRY_DELAY)


def accepted(job: Job, identity: JobIdentity, tool_type: str, now: datetime) -> JobStatus:
    """The status of a job that was just created: queued, with everything that never changes."""
    return _move(job, job.status, "queued", now).model_copy(
        update={
            "provisioning_state": "succeeded",
            "provisioning_state_transition_time": now,
            "job_output_directory_path_segment": identity.segment,
            "tool_type": tool_type,
            "execution_info": ExecutionInfo(),
            "conditions": with_adjusted_options(None, job.spec.mount_volumes, now, job.metadata.generation) or None,
            "attempt": 0,
            "nodes": [],
            "observed_generation": job.metadata.generation,
        }
    )


def waiting(job: Job, reason: str, message: str, *, position: int | None, now: datetime) -> JobStatus:
    """A queued job waits; says for what. A new one may lack what it needs to be accepted, and is queued, too."""
    return _move(job, job.status, "queued", now).model_copy(
        update={
            "queue_position": position,
            "waiting": Waiting(reason=reason, message=message),
            "conditions": _condition(job, job.status.conditions, WAITING, True, reason, message, now),
            "observed_generation": job.metadata.generation,
        }
    )


def assigned(job: Job, nodes: Sequence[str], now: datetime) -> JobStatus:
    """A queued job got its nodes: the next attempt begins, before any pod exists (intent before effect)."""
    moved = _move(job, job.status, "running", now)
    conditions = moved.conditions
    text = f"Runs on {', '.join(nodes)}"
    conditions = _condition(job, conditions, WAITING, False, "NodesAssigned", text, now)
    conditions = _condition(job, conditions, STARTED, False, "Starting", "The pods are being started", now)
    if is_false(conditions, NODES_HEALTHY):
        conditions = _condition(job, conditions, NODES_HEALTHY, True, "NodesAssigned", text, now)
    number = (job.status.attempt or 0) + 1
    attempt = JobAttempt(number=number, nodes=list(nodes), start_time=now)
    return moved.model_copy(
        update={
            "attempt": number,
            "nodes": list(nodes),
            "attempts": _kept([*(job.status.attempts or []), attempt]),
            "queue_position": None,
            "waiting": None,
            "execution_info": ExecutionInfo(start_time=now),
            "conditions": conditions,
        }
    )


def _kept(attempts: Sequence[JobAttempt]) -> list[JobAttempt]:
    """The last ones, and those that tell of a faulty node, of which retryPolicy allows few."""
    return [*(attempt for attempt in attempts[:-_KEPT_ATTEMPTS] if attempt.faulty_nodes), *attempts[-_KEPT_ATTEMPTS:]]


def terminating(job: Job, now: datetime) -> JobStatus:
    """The user asked a running job to stop; its pods get SIGTERM."""
    return _move(job, job.status, "terminating", now)


def terminated(job: Job, now: datetime) -> JobStatus:
    """A job that the user stopped has no exit code (reference §1.5)."""
    return failed(job, Problem("JobTerminated", "The job was terminated by the user", {}), now)


def failed(job: Job, problem: Problem, now: datetime, *, exit_code: int | None = None) -> JobStatus:
    """The job is over and did not do what it should."""
    return _ended(job, "failed", problem, exit_code, now)


def observed(
    job: Job,
    pods: Mapping[int, PodObject],
    *,
    expected: int,
    mount_failures: Mapping[str, str],
    dead_nodes: Collection[str],
    faults: Sequence[NodeFault] = (),
    now: datetime,
) -> Step:
    """What a running or terminating job's pods mean for it.

    pods: index → pod of the current attempt; expected: how many there are when all exist; mount_failures:
    pod UID → the kubelet's last message about a failed mount; dead_nodes: nodes of the job that do not answer;
    faults: of those that do.
    """
    master = pods.get(0)
    results = {index: found for index, pod in pods.items() if (found := _result(job, index, pod, dead_nodes))}
    if job.status.execution_state == "terminating":
        if master is None or 0 in results:
            return Step(terminated(job, now), stop_pods=True)
        return Step(job.status, stop_pods=True)
    if (since := _failing_since(job)) is not None:
        results = {index: found for index, found in results.items() if not _stopped_here(pods[index], found, since)}
    if 0 in results and results[0].problem is None:
        return Step(_ended(job, "succeeded", None, results[0].exit_code, now))
    failures = {index: found for index, found in results.items() if found.problem is not None}
    if any(not fault.passing for fault in faults):
        return _leaving(job, faults, now)
    vanished = len(pods) < expected and has_started(job)
    if failures or vanished:
        return _after_failures(job, failures, pods, vanished, now)
    if faults:
        return _leaving(job, faults, now)
    if master is None:
        return Step(job.status)
    for index in sorted(pods):
        problem = start_problem(pods[index], mount_failures.get(pods[index]["metadata"]["uid"]))
        if problem is not None:
            return blocked(job, problem, now)
    status = _unblocked(job, now)
    if is_false(status.conditions, NODES_HEALTHY):
        conditions = _condition(job, status.conditions, NODES_HEALTHY, True, "Recovered", "", now)
        status = status.model_copy(update={"conditions": conditions})
    for index in sorted(pods):
        if (waits := delay(pods[index], mount_failures.get(pods[index]["metadata"]["uid"]))) is not None:
            conditions = _condition(job, status.conditions, STARTED, False, *waits, now)
            return Step(status.model_copy(update={"conditions": conditions}))
    if len(pods) == expected and all(started(pod) for pod in pods.values()):
        status = status.model_copy(update={"conditions": _running(job, status.conditions, now)})
    return Step(status)


def _leaving(job: Job, faults: Sequence[NodeFault], now: datetime) -> Step:
    """The job leaves its nodes, at once or when the fault has not passed."""
    fault = min(faults, key=lambda fault: fault.passing)
    conditions = job.status.conditions
    before = find(conditions, NODES_HEALTHY)
    since = before.last_transition_time if before is not None and before.status == "False" else now
    left = since + FAULT_GRACE - now
    if fault.passing and left > timedelta(0):
        conditions = _condition(job, conditions, NODES_HEALTHY, False, fault.problem.code, fault.problem.message, now)
        return Step(job.status.model_copy(update={"conditions": conditions}), look_again=left)
    faulty = [fault.node for fault in faults if fault.faulty]
    return requeued(job, fault.problem, now, counts=fault.counts, faulty_nodes=faulty)


def _result(job: Job, index: int, pod: PodObject, dead_nodes: Collection[str]) -> Outcome | None:
    """How a pod ended; a pod that somebody gave up on a dead node is lost, whatever it still does there.

    So is one that the scheduler never brought there: nobody gives it up.
    """
    nodes = job.status.nodes or []
    dead = index < len(nodes) and nodes[index] in dead_nodes
    if dead and (unreachable(pod) or ("nodeName" not in pod["spec"] and outcome(pod) is None)):
        return Outcome(None, Problem("NodeLost", f"Node {nodes[index]} does not answer", {}), infrastructure=True)
    return outcome(pod)


def _after_failures(
    job: Job, failures: Mapping[int, Outcome], pods: Mapping[int, PodObject], vanished: bool, now: datetime
) -> Step:
    """What came from outside decides, for it makes the rest fail, too; then the master, which knows the first failure.

    vanished: a pod that was there is gone.
    """
    ends = [ended for index in failures if (ended := finished_at(pods[index])) is not None]
    if any(found.problem == OUT_OF_TIME for found in failures.values()) or _out_of_time(job, ends):
        return Step(failed(job, OUT_OF_TIME, now))
    if (fault := next(_faults(job, failures, pods, vanished), None)) is not None:
        return lost(job, fault, now)
    if len(pods) > 1 and ends and now - min(ends) < SETTLING:
        return Step(job.status, look_again=SETTLING)
    decisive = failures[min(failures)]
    assert decisive.problem is not None  # noqa: S101 - failures have problems
    runs = any(started(pod) and outcome(pod) is None for pod in pods.values())
    if runs and (step := _stopping(job, decisive.problem, now)) is not None:
        return step
    action = _action(job, decisive.exit_code)
    if action == "retry":
        return lost(job, decisive.problem, now, exit_code=decisive.exit_code)
    if action == "succeed":
        return Step(_ended(job, "succeeded", None, decisive.exit_code, now))
    return Step(failed(job, decisive.problem, now, exit_code=decisive.exit_code))


def _stopping(job: Job, problem: Problem, now: datetime) -> Step | None:
    """The other pods must end before the job does: one whose node is lost cannot, and explains the failure.

    They are told to, because nobody tells them of the master's failure. None after STOPPING.
    """
    left = (_failing_since(job) or now) + STOPPING - now
    if left <= timedelta(0):
        return None
    text = f"{problem.message}: the other nodes are being stopped"
    conditions = _condition(job, job.status.conditions, FAILING, True, problem.code, text, now)
    return Step(job.status.model_copy(update={"conditions": conditions}), stop_pods=True, look_again=left)


def _failing_since(job: Job) -> datetime | None:
    """When the operator began to stop the other pods of a job that fails; None while it does not."""
    condition = find(job.status.conditions, FAILING)
    return condition.last_transition_time if condition is not None and condition.status == "True" else None


def _stopped_here(pod: PodObject, found: Outcome, since: datetime) -> bool:
    """The pod ended because the operator stopped it, so its exit code says nothing, be it 0; its node was not lost.

    What had failed before did so SETTLING earlier: half of that is left to clocks that differ.
    """
    if found.infrastructure and found.problem is not None and found.problem.code != POD_DELETED:
        return False
    end = finished_at(pod)
    return "deletionTimestamp" in pod["metadata"] and (end is None or end > since - SETTLING / 2)


def _out_of_time(job: Job, ends: Collection[datetime]) -> bool:
    """The first end came after the job's time: each node's kubelet counts for itself, and one is the first to stop."""
    start = job.status.execution_info.start_time if job.status.execution_info else None
    limit = parse_duration(job.spec.constraints.max_wall_clock_time)
    # Ends have whole seconds.
    return start is not None and bool(ends) and min(ends) - start.replace(microsecond=0) >= limit


def _faults(
    job: Job, failures: Mapping[int, Outcome], pods: Mapping[int, PodObject], vanished: bool
) -> Iterator[Problem]:
    """What no process of the job did. Until it fails, a running job's pods are deleted by others only."""
    for found in failures.values():
        if found.infrastructure and found.problem is not None:
            yield found.problem
    for pod in pods.values():
        problem = disruption(pod) if unreachable(pod) else None
        if problem is not None and (problem.code != POD_DELETED or _failing_since(job) is None):
            yield problem
    if vanished:
        yield Problem("PodLost", "A pod of the job vanished with its result", {})


def _action(job: Job, exit_code: int | None) -> str:
    for rule in job.spec.retry_policy.rules or []:
        if exit_code in rule.exit_codes:
            return rule.action
    return "fail"


def lost(job: Job, problem: Problem, now: datetime, *, exit_code: int | None = None) -> Step:
    """A fault ended the attempt: back to the queue, or failed after the last attempt."""
    return requeued(job, problem, now, exit_code=exit_code, counts=True)


def requeued(
    job: Job,
    problem: Problem,
    now: datetime,
    *,
    exit_code: int | None = None,
    counts: bool = False,
    faulty_nodes: Sequence[str] = (),
) -> Step:
    """The attempt is over: back to the queue, or failed when it counts and was the last one that retryPolicy allows."""
    retries = (job.status.retries or 0) + counts
    if counts and retries > job.spec.retry_policy.limit:
        return Step(failed(job, problem, now, exit_code=exit_code), stop_pods=True)
    message = f"{problem.message}: waits for its next attempt"
    attempts = _closed(job, problem.code, problem.message, exit_code, now)
    if attempts and faulty_nodes:
        attempts = [*attempts[:-1], attempts[-1].model_copy(update={"faulty_nodes": list(faulty_nodes)})]
    queued = _move(job, job.status, "queued", now).model_copy(
        update={
            "nodes": [],
            "retries": retries,
            "attempts": attempts,
            "waiting": Waiting(reason=problem.code, message=message),
        }
    )
    conditions = _condition(job, queued.conditions, WAITING, True, problem.code, message, now)
    for kind in (STARTED, RUNNING, START_BLOCKED, FAILING):
        if find(conditions, kind) is not None:
            conditions = _condition(job, conditions, kind, False, problem.code, problem.message, now)
    return Step(queued.model_copy(update={"conditions": conditions}), stop_pods=True)


def blocked(job: Job, problem: Problem, now: datetime) -> Step:
    """Something keeps the attempt from starting: the kubelet tries again, after START_GRACE the job fails."""
    text = ": ".join(filter(None, (problem.message, problem.details.get("Info"))))
    before = find(job.status.conditions, START_BLOCKED)
    if before is not None and before.status == "True":
        passed = now - before.last_transition_time
        if passed >= START_GRACE:
            return Step(failed(job, problem, now), stop_pods=True)
        return Step(job.status, look_again=START_GRACE - passed)
    conditions = _condition(job, job.status.conditions, START_BLOCKED, True, problem.code, text, now)
    return Step(job.status.model_copy(update={"conditions": conditions}), look_again=START_GRACE)


def _unblocked(job: Job, now: datetime) -> JobStatus:
    if not is_true(job.status.conditions, START_BLOCKED):
        return job.status
    conditions = _condition(job, job.status.conditions, START_BLOCKED, False, "Resolved", "", now)
    return job.status.model_copy(update={"conditions": conditions})


def _running(job: Job, conditions: Sequence[Condition] | None, now: datetime) -> list[Condition]:
    text = "The job's container runs"
    result = _condition(job, conditions, STARTED, True, "ContainersStarted", text, now)
    return _condition(job, result, RUNNING, True, "ContainersStarted", text, now)


def _ended(job: Job, state: ExecutionState, problem: Problem | None, exit_code: int | None, now: datetime) -> JobStatus:
    moved = _move(job, job.status, state, now)
    info = moved.execution_info or ExecutionInfo()
    conditions = moved.conditions
    reason, message = (problem.code, problem.message) if problem else ("Completed", "The job succeeded")
    for kind in (WAITING, RUNNING, START_BLOCKED, FAILING):
        if is_true(conditions, kind):
            conditions = _condition(job, conditions, kind, False, reason, message, now)
    conditions = _condition(job, conditions, SUCCEEDED if problem is None else FAILED, True, reason, message, now)
    return moved.model_copy(
        update={
            "queue_position": None,
            "waiting": None,
            "attempts": _closed(job, reason, message, exit_code, now),
            "conditions": conditions,
            "execution_info": info.model_copy(
                update={
                    "end_time": now,
                    "exit_code": exit_code,
                    "errors": [_error(problem)] if problem else None,
                }
            ),
        }
    )


def _closed(job: Job, reason: str, message: str, exit_code: int | None, now: datetime) -> list[JobAttempt] | None:
    """The attempts with an end to the last one, if it has none yet."""
    attempts = job.status.attempts
    if not attempts or attempts[-1].end_time is not None:
        return attempts
    end = {"end_time": now, "exit_code": exit_code, "reason": reason, "message": shorten(message, _DETAIL_LIMIT)}
    return [*attempts[:-1], attempts[-1].model_copy(update=end)]


def _error(problem: Problem) -> JobError:
    details = [
        ErrorDetail(name=name, value=shorten(value, _DETAIL_LIMIT)) for name, value in problem.details.items() if value
    ]
    return JobError(code=problem.code, message=shorten(problem.message, _DETAIL_LIMIT), details=details or None)


def _move(job: Job, status: JobStatus, state: ExecutionState, now: datetime) -> JobStatus:
    if status.execution_state == state:
        return status
    return status.model_copy(
        update={
            "execution_state": state,
            "execution_state_transition_time": now,
            "observed_generation": job.metadata.generation,
        }
    )


def _condition(
    job: Job,
    conditions: Sequence[Condition] | None,
    kind: str,
    status: bool,
    reason: str,
    message: str,
    now: datetime,
) -> list[Condition]:
    return with_condition(
        conditions,
        kind,
        status=status,
        reason=reason,
        message=message,
        now=now,
        generation=job.metadata.generation,
    )
