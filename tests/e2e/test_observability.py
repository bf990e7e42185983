"""What the operator shows of its work: metrics, Events and log lines, after real jobs."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.jobs import OPERATOR, Cluster, Space, wait_until

Series = list[tuple[str, dict[str, str], float]]


def operators(cluster: Cluster) -> list[dict[str, Any]]:
    return [pod for pod in cluster.list("pods", OPERATOR) if "deletionTimestamp" not in pod["metadata"]]


def active(cluster: Cluster) -> str:
    """The name of the replica that works."""
    name: str = cluster.get("lease", "batchai-operator", OPERATOR)["spec"]["holderIdentity"]
    return name


def scrape(cluster: Cluster, pod: str, *, answers: bool = True) -> Series:
    """A pod's metrics; none if it need not answer yet."""
    path = f"/api/v1/namespaces/{OPERATOR}/pods/{pod}:8081/proxy/metrics"
    families = text_string_to_metric_families(cluster.kubectl("get", "--raw", path, check=answers))
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def total(series: Series, name: str, **labels: str) -> float:
    return sum(value for found, has, value in series if found == name and labels.items() <= has.items())


def events(space: Space, kind: str, name: str) -> list[dict[str, Any]]:
    found = space.cluster.list("events.events.k8s.io", space.namespace)
    of = [event for event in found if (event["regarding"]["kind"], event["regarding"]["name"]) == (kind, name)]
    return sorted(of, key=lambda event: str(event["eventTime"]))


def wait_for_events(space: Space, name: str, *reasons: str) -> list[dict[str, Any]]:
    wait_until(
        lambda: [event["reason"] for event in events(space, "Job", name)] == list(reasons),
        f"the events of job {name} are {reasons}",
        seconds=20,
    )
    return events(space, "Job", name)


def test_a_jobs_life_is_in_the_metrics(cluster: Cluster, space: Space) -> None:
    before = scrape(cluster, active(cluster))
    space.run("counted", "true")
    after = scrape(cluster, active(cluster))

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    of_cluster = {"namespace": space.namespace, "cluster": "nc6"}
    states = {
        has["state"]: value
        for name, has, value in after
        if name == "batchai_jobs" and of_cluster.items() <= has.items()
    }
    assert states == {"queued": 0, "running": 0, "terminating": 0, "succeeded": 1, "failed": 0}
    assert total(after, "batchai_nodes", **of_cluster) == 1
    assert more("batchai_job_start_seconds_count", stage="pods") == 1
    assert more("batchai_job_start_seconds_count", stage="containers") == 1
    assert more("batchai_reconcile_duration_seconds_count", kind="Job") >= 3
    assert more("batchai_reconcile_errors_total", reason="unexpected") == 0
    assert more("batchai_api_request_duration_seconds_count", verb="create", resource="pods", code="2xx") == 1
    assert more("batchai_api_request_duration_seconds_count", verb="patch", resource="jobs/status", code="2xx") >= 3
    silence = {has["resource"]: value for name, has, value in after if name == "batchai_informer_silence_seconds"}
    assert set(silence) == {"pods", "nodes", "events", "volumes"}
    assert max(silence.values()) < 120
    assert total(after, "process_resident_memory_bytes") > 10e6
    assert not [has for _, has, _ in after if "counted" in has.values()]


def test_waiting_jobs_are_seen_as_a_queue(cluster: Cluster, space: Space) -> None:
    of_cluster = {"namespace": space.namespace, "cluster": "nc6"}
    space.submit("large", "true", nodeCount=2)
    space.wait_until(lambda: space.job("large").get("status", {}).get("waiting"), "the job waits")

    def oldest() -> float:
        return total(scrape(cluster, active(cluster)), "batchai_queue_oldest_seconds", **of_cluster)

    space.wait_until(lambda: oldest() >= 1, "its age is known", seconds=20)
    assert total(scrape(cluster, active(cluster)), "batchai_jobs", state="queued", **of_cluster) == 1
    cluster.kubectl("delete", "bjob", "large", "-n", space.namespace)
    space.wait_until(lambda: oldest() == 0, "the queue is empty", seconds=20)
    assert events(space, "Job", "large") == []


def test_a_job_has_an_event_for_its_start_and_one_for_its_end(cluster: Cluster, space: Space) -> None:
    job = space.run("good", "true")
    started, ended = wait_for_events(space, "good", "AttemptStarted", "Succeeded")
    assert started["note"] == f"Attempt 1 started on {job['status']['nodes'][0]}"
    assert (started["type"], ended["type"]) == ("Normal", "Normal")
    assert ended["note"].startswith("Succeeded in attempt 1 after ")
    described = cluster.kubectl("describe", "bjob", "good", "-n", space.namespace)
    assert started["note"] in described
    assert ended["note"] in described

    space.run("bad", "exit 3", succeeds=False)
    _, failed = wait_for_events(space, "bad", "AttemptStarted", "Failed")
    assert failed["type"] == "Warning"
    assert failed["note"] == "JobFailed: Job failed with non-zero exit code (exit code 3)"


def test_another_attempt_is_told(space: Space) -> None:
    space.run(
        "again", "exit 7", succeeds=False, retryPolicy={"limit": 1, "rules": [{"exitCodes": [7], "action": "retry"}]}
    )
    found = events(space, "Job", "again")
    space.wait_until(lambda: len(events(space, "Job", "again")) == 4, "the last event is there", seconds=20)
    found = events(space, "Job", "again")
    assert [event["reason"] for event in found] == ["AttemptStarted", "Requeued", "AttemptStarted", "Failed"]
    assert found[1]["note"].startswith("Attempt 1 failed, retry 1 of 1 follows: JobFailed: ")
    assert found[2]["note"].startswith("Attempt 2 started on ")
    # The last attempt's pod stays, for its log.
    assert [pod["metadata"]["name"] for pod in space.pods("again")] == ["again-2-0"]


def test_a_clusters_nodes_are_told(space: Space) -> None:
    assert [event["note"] for event in events(space, "Cluster", "nc6")] == ["from 0 to 1 nodes"]


def test_nothing_is_told_while_nothing_changes(space: Space) -> None:
    before = len(space.cluster.list("events.events.k8s.io", space.namespace))
    space.kill_operator()
    time.sleep(3)  # Events are written behind the work
    assert len(space.cluster.list("events.events.k8s.io", space.namespace)) == before


def test_log_lines_are_json_and_name_the_job(cluster: Cluster, space: Space) -> None:
    space.run("logged", "true")
    written = cluster.kubectl("logs", "-n", OPERATOR, active(cluster))
    lines = [json.loads(line) for line in written.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    of_job = [line for line in lines if (line.get("namespace"), line.get("name")) == (space.namespace, "logged")]
    assert [line["message"].split(":")[0] for line in of_job] == ["AttemptStarted", "Succeeded"]
    assert all((line["kind"], line["attempt"]) == ("Job", 1) for line in of_job)


def test_a_deleted_clusters_series_vanish(cluster: Cluster, space: Space) -> None:
    def known() -> bool:
        return any("short-lived" in has.values() for _, has, _ in scrape(cluster, active(cluster)))

    cluster.apply(space.resource("Cluster", "short-lived", {"workspace": "work", "vmSize": "standard_nc6"}))
    space.wait_until(known, "the cluster has series", seconds=20)
    cluster.kubectl("delete", "bcluster", "short-lived", "-n", space.namespace)
    space.wait_until(lambda: not known(), "its series are gone", seconds=20)


@pytest.fixture
def waiting(cluster: Cluster) -> Iterator[str]:
    """A second replica, which waits for the Lease."""
    cluster.kubectl("scale", "deployment", "batchai-operator", "-n", OPERATOR, "--replicas=2")

    def runs() -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in operators(cluster)
            if pod["metadata"]["name"] != active(cluster)
            and any("running" in container["state"] for container in pod["status"].get("containerStatuses", []))
        ]

    try:
        wait_until(runs, "a second replica runs")
        yield runs()[0]
    finally:
        cluster.kubectl("scale", "deployment", "batchai-operator", "-n", OPERATOR, "--replicas=1")
        wait_until(lambda: len(cluster.list("pods", OPERATOR)) == 1, "one replica is left")


def test_a_replica_that_waits_has_metrics_of_its_process(cluster: Cluster, waiting: str) -> None:
    wait_until(lambda: scrape(cluster, waiting, answers=False), "it answers")
    assert total(scrape(cluster, waiting), "process_resident_memory_bytes") > 0
    names = {name for name, _, _ in scrape(cluster, waiting) if name.startswith("batchai_")}
    assert {name.rsplit("_", 1)[0] for name in names} == {"batchai_api_request_duration_seconds"}
