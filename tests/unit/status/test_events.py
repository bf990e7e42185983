"""Which status writes are told, and in which words."""

from typing import Any

import pytest
from tests.unit.builders import NOW, job, job_raw

from batchai.api.cluster import ClusterStatus
from batchai.api.job import JobStatus
from batchai.status import job as life
from batchai.status.events import NOTE_BYTES, Notice, first_start, notice
from batchai.status.pods import Problem

INFO = {"startTime": "2026-05-04T03:00:00Z", "endTime": "2026-05-04T03:00:42Z"}


def job_status(state: str | None = None, **fields: Any) -> JobStatus:
    return JobStatus.model_validate({"executionState": state, **fields})


def failed(code: str, message: str, exit_code: int | None = None, attempt: int = 1) -> JobStatus:
    errors = [{"code": code, "message": message, "details": [{"name": "Info", "value": "a secret of the script"}]}]
    return job_status("failed", attempt=attempt, executionInfo={**INFO, "exitCode": exit_code, "errors": errors})


RUNNING = job_status("running", attempt=1, nodes=["n1"])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (job_status(), job_status("queued", attempt=0), None),
        (
            job_status("queued"),
            job_status("queued", queuePosition=3, waiting={"reason": "InsufficientNodes", "message": "waits"}),
            None,
        ),
        (job_status("queued"), RUNNING, Notice("AttemptStarted", "Attempt 1 started on n1")),
        (
            job_status("queued", attempt=1),
            job_status("running", attempt=2, nodes=["n1", "n2", "n3", "n4", "n5", "n6"]),
            Notice("AttemptStarted", "Attempt 2 started on n1, n2, n3, n4 and 2 more"),
        ),
        (RUNNING, RUNNING.model_copy(update={"queue_position": 1}), None),
        (RUNNING, job_status("terminating", attempt=1), None),
        (
            RUNNING,
            job_status("queued", attempt=1, waiting={"reason": "NodeDeallocated", "message": "Node n1 went"}),
            Notice("Requeued", "Attempt 1 did not count: NodeDeallocated: Node n1 went", warning=True),
        ),
        (
            job_status("running", attempt=4, retries=1),
            job_status("queued", attempt=4, retries=2, waiting={"reason": "NodeLost", "message": "Node n1 went"}),
            Notice("Requeued", "Attempt 4 failed, retry 2 of 3 follows: NodeLost: Node n1 went", warning=True),
        ),
        (
            RUNNING,
            job_status("succeeded", attempt=1, executionInfo={**INFO, "exitCode": 0}),
            Notice("Succeeded", "Succeeded in attempt 1 after 42 s"),
        ),
        (
            RUNNING,
            failed("JobFailed", "Job failed with non-zero exit code", 3),
            Notice("Failed", "JobFailed: Job failed with non-zero exit code (exit code 3)", warning=True),
        ),
        (
            job_status("queued"),
            failed("InvalidJob", "spec.inputDirectories[0]: is refused", attempt=0),
            Notice("Failed", "InvalidJob: spec.inputDirectories[0]: is refused", warning=True),
        ),
        (
            job_status("terminating", attempt=1),
            failed("JobTerminated", "The job was terminated by the user"),
            Notice("Failed", "JobTerminated: The job was terminated by the user"),
        ),
        (job_status("succeeded"), job_status("succeeded", attempt=1), None),
    ],
)
def test_jobs(before: JobStatus, after: JobStatus, expected: Notice | None) -> None:
    assert notice(job_raw(), before, after) == expected


def test_what_the_lifes_transitions_write_is_told() -> None:
    queued = job(status={"executionState": "queued", "attempt": 0})
    running = queued.model_copy(update={"status": life.assigned(queued, ["n1"], NOW)})
    lost = life.lost(running, Problem("PodLost", "A pod vanished", {}), NOW).status
    raw = job_raw(retryPolicy={"limit": 1})
    note = "Attempt 1 failed, retry 1 of 1 follows: PodLost: A pod vanished: waits for its next attempt"
    assert notice(raw, running.status, lost) == Notice("Requeued", note, warning=True)
    taken = life.requeued(running, Problem("NodeDeallocated", "Node n1 was taken", {}), NOW).status
    note = "Attempt 1 did not count: NodeDeallocated: Node n1 was taken: waits for its next attempt"
    assert notice(raw, running.status, taken) == Notice("Requeued", note, warning=True)


def cluster_status(nodes: int | None = None, unusable: int = 0, errors: list[str] | None = None) -> ClusterStatus:
    return ClusterStatus.model_validate(
        {
            "currentNodeCount": nodes,
            "nodeStateCounts": {"unusableNodeCount": unusable},
            "errors": [
                *(
                    {"code": "E", "message": said, "details": [{"name": "Node", "value": "n1"}]}
                    for said in errors or []
                ),
                {"code": "NodesUnavailable", "message": "2 of 3 nodes"},
            ],
        }
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ClusterStatus(), cluster_status(0), None),
        (ClusterStatus(), cluster_status(3), Notice("NodesAdded", "from 0 to 3 nodes")),
        (cluster_status(3), cluster_status(1), Notice("NodesRemoved", "from 3 to 1 nodes")),
        (cluster_status(3), cluster_status(3), None),
        (
            cluster_status(3),
            cluster_status(3, 1, ["node n1: GPU 0 fell off the bus"]),
            Notice("NodesUnusable", "1 of 3 nodes cannot run jobs: node n1: GPU 0 fell off the bus", warning=True),
        ),
        (
            cluster_status(3),
            cluster_status(2, 1),
            Notice("NodesUnusable", "1 of 2 nodes cannot run jobs; from 3 to 2 nodes", warning=True),
        ),
        (cluster_status(3, 1), cluster_status(3), None),
    ],
)
def test_clusters(before: ClusterStatus, after: ClusterStatus, expected: Notice | None) -> None:
    assert notice(job_raw(), before, after) == expected


def test_long_notes_are_cut_to_the_api_servers_bytes() -> None:
    found = notice(job_raw(), RUNNING, failed("JobFailed", "ü" * 2000))
    assert found is not None
    assert len(found.note.encode()) <= NOTE_BYTES
    assert found.note.startswith("JobFailed: üü")
    assert found.note.endswith("…")


def test_the_first_start_is_the_first_attempts_only() -> None:
    def status(attempt: int, started: str) -> JobStatus:
        condition = {"type": "Started", "status": started, "reason": "R", "lastTransitionTime": NOW}
        return job_status("running", attempt=attempt, conditions=[condition])

    assert first_start(status(1, "False"), status(1, "True")) == NOW
    assert first_start(status(1, "True"), status(1, "True")) is None
    assert first_start(status(2, "False"), status(2, "True")) is None
    assert first_start(status(1, "False"), status(1, "False")) is None
    assert first_start(cluster_status(1), cluster_status(2)) is None
