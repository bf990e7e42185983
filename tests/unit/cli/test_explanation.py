"""What `job explain` makes of jobs that wait, run and fail."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.cli.fakes import Terminal

from batchai.api.job import TOOLKITS
from batchai.cli.explanation import ADVICE, Explanation, as_object, as_text, explanation
from batchai.cli.kube import EVENTS, JOBS, PODS

NOW = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)
CREATED = "2026-01-02T03:00:00Z"


def at(minute: int) -> str:
    return f"2026-01-02T03:{minute:02}:00Z"


def job(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A job of two nodes; of the custom toolkit, unless `spec` has another."""
    share = {"azureFileUrl": "https://acc.file.core.windows.net/share", "relativeMountPath": "logs"}
    return {
        "metadata": {
            "name": "j-1",
            "namespace": "ns",
            "uid": "u",
            "creationTimestamp": CREATED,
            "labels": {"batchai.dev/name": "j_1", "batchai.dev/workspace": "w", "batchai.dev/experiment": "e"},
        },
        "spec": {
            "experiment": "e",
            "cluster": "nc6",
            "nodeCount": 2,
            **({} if spec.keys() & TOOLKITS.keys() else {"customToolkitSettings": {"commandLine": "true"}}),
            "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
            "mountVolumes": {"azureFileShares": [share]},
            **spec,
        },
        "status": status or {},
    }


def failed(code: str, message: str = "m", exit_code: int | None = None, **details: str) -> dict[str, Any]:
    named = [{"name": name, "value": value} for name, value in details.items()]
    error = {"code": code, "message": message, "details": named}
    attempt = {"number": 1, "nodes": ["a", "b"], "startTime": at(10), "endTime": at(20), "reason": code}
    return {
        "executionState": "failed",
        "executionInfo": {"exitCode": exit_code, "errors": [error]},
        "attempts": [{**attempt, "message": message, "exitCode": exit_code}],
    }


def waiting(reason: str, message: str, position: int | None = None) -> dict[str, Any]:
    return {"executionState": "queued", "waiting": {"reason": reason, "message": message}, "queuePosition": position}


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(11)}


def running(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"executionState": "running", "nodes": ["a", "b"], "conditions": list(conditions)}


def explained(
    item: dict[str, Any], *, cluster: Any = None, pods: Any = (), events: Any = (), now: datetime = NOW
) -> Explanation:
    return explanation(item, cluster, pods, events, now)


@pytest.mark.parametrize(
    ("status", "summary", "advice"),
    [
        (
            waiting("WaitingForNodes", "waits for 2 nodes: 0 of 1 idle", 1),
            "Job 'j_1' is queued (place 1 in the queue): waits for 2 nodes: 0 of 1 idle.",
            "batchai cluster resize -n nc6",
        ),
        (
            waiting("ClusterTooSmall", "needs 2 nodes, but the cluster has at most 1", 1),
            "Job 'j_1' is queued (place 1 in the queue): needs 2 nodes, but the cluster has at most 1.",
            "batchai cluster resize -n nc6 -t 2",
        ),
        (waiting("ClusterNotFound", "no"), "Job 'j_1' is queued: no.", "batchai cluster create -n nc6"),
        (waiting("ExperimentNotFound", "no"), "Job 'j_1' is queued: no.", "batchai experiment create -n e"),
        (waiting("BehindOthers", "3 earlier", 4), "Job 'j_1' is queued (place 4 in the queue): 3 earlier.", "high"),
        (
            waiting("SecretNotFound", "waits for Secret 'x'"),
            "Job 'j_1' is queued: waits for Secret 'x'.",
            "--storage-account-key",
        ),
        (
            running(condition("StartBlocked", "True", "AZFMountError", "could not be mounted: no such share")),
            "Job 'j_1' has its nodes, but its containers do not run yet: could not be mounted: no such share.",
            "Secret 'batchai-storage-acc'",
        ),
        (
            running(condition("Started", "False", "Unschedulable", "Insufficient cpu")),
            "Job 'j_1' has its nodes, but its containers do not run yet: Insufficient cpu.",
            "kubectl describe node a",
        ),
        (running(condition("Started", "True", "ContainersStarted", "")), "Job 'j_1' is running on a, b.", ""),
        ({"executionState": "succeeded"}, "Job 'j_1' has succeeded.", ""),
        (failed("JobTerminated", "stopped"), "Job 'j_1' has failed: stopped (JobTerminated).", "stopped on purpose"),
        (failed("NodeLost", "gone"), "Job 'j_1' has failed: gone (NodeLost).", "kubectl describe node a"),
        (failed("JobPreparationFailed"), "Job 'j_1' has failed: m (JobPreparationFailed).", "stderr-job_prep-a.txt"),
        (failed("JobFailed", exit_code=127), "Job 'j_1' has failed: m (JobFailed).", "not found in the image"),
        (
            failed("JobFailed", exit_code=1, Process="rank 1", Info="ValueError: nan"),
            "Job 'j_1' has failed: m (JobFailed).",
            "batchai job stream -n j_1",
        ),
        ({}, "Job 'j_1' was not seen by the operator yet.", "kubectl get pods -n batchai-system"),
    ],
)
def test_how_a_job_stands(status: dict[str, Any], summary: str, advice: str) -> None:
    found = explained(job(status))
    assert found.summary == summary
    assert advice in "\n".join(found.advice)
    assert bool(found.advice) == bool(advice)


def test_a_new_job_is_not_suspicious() -> None:
    found = explained(job(), now=datetime.fromisoformat(CREATED) + timedelta(seconds=3))
    assert (found.summary, found.advice) == ("Job 'j_1' was just created.", [])


def test_what_a_cluster_lacks() -> None:
    lacks = condition("NodesAvailable", "False", "TooFewNodes", "0 of 1 nodes: no other usable node is free")
    cluster: dict[str, Any] = {"metadata": {"name": "nc6"}, "spec": {"workspace": "w", "vmSize": "STANDARD_NC6"}}
    sick = {"code": "SetupTaskFailed", "message": "Node a failed its setup task with exit code 4"}
    cluster["status"] = {"conditions": [lacks], "errors": [sick]}
    assert explained(job(waiting("WaitingForNodes", "m")), cluster=cluster).details == [
        "Cluster 'nc6' has 0 of 1 nodes: no other usable node is free",
        "SetupTaskFailed: Node a failed its setup task with exit code 4",
    ]


def pod(index: int, **state: Any) -> dict[str, Any]:
    name = f"j-1-1-{index}"
    status = {"containerStatuses": [{"name": "job", "state": state}]}
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"p{index}"}, "status": status}


def event(minute: int, reason: str, message: str, kind: str = "Pod", **more: Any) -> dict[str, Any]:
    about = {"kind": kind, "name": "j-1-1-0", "uid": more.pop("uid", "p0")}
    base = {"type": "Warning", "reason": reason, "message": message, "involvedObject": about}
    return {**base, "lastTimestamp": at(minute), **more}


def test_the_story_is_in_order() -> None:
    ended = {"exitCode": 3, "startedAt": at(13), "finishedAt": at(19), "reason": "OOMKilled"}
    found = explained(
        job(failed("JobFailed", "non-zero exit code", exit_code=3)),
        pods=[pod(0, terminated=ended), pod(1, running={"startedAt": at(12)})],
        events=[
            event(11, "FailedMount", "no such\n share", count=4),
            event(12, "Pulled", "took 20 s", type="Normal"),
            event(12, "Scheduled", "to a", type="Normal"),
            event(14, "Odd", "of the job", kind="Job"),
            {**event(0, "New", "of events.k8s.io"), "lastTimestamp": None, "eventTime": "2026-01-02T03:15:00.5Z"},
        ],
    )
    assert [(moment.time.minute, moment.what) for moment in found.story] == [
        (0, "created: 2 nodes of cluster 'nc6', priority normal"),
        (10, "attempt 1 got a, b"),
        (11, "pod j-1-1-0: FailedMount: no such share (4 times)"),
        (12, "container of pod j-1-1-1 started"),
        (12, "pod j-1-1-0: Pulled: took 20 s"),
        (13, "container of pod j-1-1-0 started"),
        (14, "Odd: of the job"),
        (15, "pod j-1-1-0: New: of events.k8s.io"),
        (19, "container of pod j-1-1-0 ended with exit code 3, OOMKilled"),
        (20, "attempt 1 ended: non-zero exit code (JobFailed, exit code 3)"),
    ]


def test_text_for_people() -> None:
    found = explained(job(failed("JobFailed", "broke", Info="one\ntwo")))
    assert as_text(as_object(found)).splitlines() == [
        "Job 'j_1' has failed: broke (JobFailed).",
        "  Info: one",
        "  two",
        "",
        "What happened (UTC):",
        "  2026-01-02 03:00:00  created: 2 nodes of cluster 'nc6', priority normal",
        "  2026-01-02 03:10:00  attempt 1 got a, b",
        "  2026-01-02 03:20:00  attempt 1 ended: broke (JobFailed)",
        "",
        "What to do:",
        "  The files of the job: batchai job file list -j j_1; its logs: batchai job stream -n j_1",
    ]


def test_the_command_takes_what_belongs_to_the_job() -> None:
    terminal = Terminal()
    terminal.kube.put(JOBS, job(waiting("BehindOthers", "1 earlier", 2)))
    own = pod(0)
    own["metadata"]["labels"] = {"batchai.dev/job-uid": "u"}
    terminal.kube.put(PODS, own)
    for reason, about, created in (
        ("Mine", {"kind": "Pod", "name": "j-1-1-0"}, at(11)),
        ("Gone", {"kind": "Pod", "name": "j-1-3-12"}, at(11)),
        ("OfTheJob", {"kind": "Job", "name": "j-1", "uid": "u"}, at(11)),
        ("OfAnotherJob", {"kind": "Job", "name": "j-1", "uid": "old"}, at(11)),
        ("OfAnother", {"kind": "Pod", "name": "j-1-1-0-1"}, at(11)),
        ("Earlier", {"kind": "Pod", "name": "j-1-1-0"}, "2026-01-02T02:59:59Z"),
    ):
        metadata = {"name": reason.lower(), "namespace": "ns", "creationTimestamp": created}
        terminal.kube.put(EVENTS, {**event(11, reason, "m"), "involvedObject": about, "metadata": metadata})
    text = terminal.run("job explain -n j_1 -g ns -w w -e e")
    assert text.startswith("Job 'j_1' is queued (place 2 in the queue): 1 earlier.\n")
    assert "pod j-1-1-0: Mine: m" in text
    assert "pod j-1-3-12: Gone: m" in text
    assert "  OfTheJob: m" in text
    assert not [word for word in ("OfAnother", "Earlier") if word in text]
    story = terminal.run("job explain -n j_1 -g ns -w w -e e -o json")
    assert story["summary"].startswith("Job 'j_1' is queued")
    assert story["story"][0]["time"] == "2026-01-02T03:00:00+00:00"


def test_a_query_picks_from_the_explanation() -> None:
    terminal = Terminal()
    terminal.kube.put(JOBS, job(waiting("BehindOthers", "1 earlier", 2)))
    found = terminal.run("job explain -n j_1 -g ns -w w -e e --query summary")
    assert found == "Job 'j_1' is queued (place 2 in the queue): 1 earlier."


def test_advice_names_the_node_that_the_error_names() -> None:
    assert "kubectl describe node b." in explained(job(failed("GpuUnhealthy", Node="b"))).advice[0]
    faulty = failed("GpuUnhealthy")
    faulty["attempts"][0]["faultyNodes"] = ["b"]
    assert "kubectl describe node b." in explained(job(faulty)).advice[0]
    prepared = explained(job(failed("JobPreparationFailed", Node="b"))).advice[0]
    assert prepared.endswith("stderr-job_prep-b.txt")


def test_advice_names_the_cluster_as_the_command_line_does() -> None:
    cluster = {
        "metadata": {"name": "my-gpu", "labels": {"batchai.dev/name": "My_GPU"}},
        "spec": {"workspace": "w", "vmSize": "s"},
    }
    found = explanation(job(waiting("ClusterTooSmall", "m")), cluster, [], [], NOW)
    assert "-n My_GPU " in found.advice[0]


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_advice_names_only_what_is_known(code: str) -> None:
    for item in (job(waiting(code, "m")), job(failed(code)), job(waiting(code, "m"), mountVolumes=None)):
        assert "{" not in explained(item).advice[0]
