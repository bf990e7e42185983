"""The metrics, and that everything that shows or explains them knows them."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.builders import NOW, job_raw

from batchai.metrics import Metrics
from batchai.reconcile.runtime import Runtime
from batchai.settings import Settings

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "manifests" / "monitoring"
NAME = re.compile(r"\b(?:batchai|process)_[a-z_]+\b")


class Exposed:
    """A registry, read as Prometheus reads it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        settings = Settings("launcher", {}, "batchai-system", "me")
        self.runtime = Runtime(None, settings, self.metrics)  # type: ignore[arg-type] # nothing is asked of it

    def follow(self) -> None:
        self.metrics.follow(self.runtime, lambda: NOW)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def series(self) -> list[tuple[str, set[str]]]:
        """Names of samples with the values of their labels."""
        text = generate_latest(self.metrics.registry).decode()
        families = text_string_to_metric_families(text)
        return [(sample.name, set(sample.labels.values())) for family in families for sample in family.samples]

    def families(self) -> set[str]:
        """As a query names them."""
        return {
            family.name + ("_total" if family.type == "counter" else "") for family in self.metrics.registry.collect()
        }


@pytest.fixture
async def exposed() -> Exposed:
    return Exposed()


def cluster(name: str, **counts: int) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": "1"}
    return {"kind": "Cluster", "metadata": metadata, "spec": {}, "status": {"nodeStateCounts": counts}}


def job(name: str, state: str | None, cluster: str, waits: timedelta = timedelta()) -> dict[str, Any]:
    raw = job_raw(name, cluster=cluster)
    status = {"executionState": state, "executionStateTransitionTime": (NOW - waits).isoformat()} if state else {}
    return raw | {"metadata": raw["metadata"] | {"uid": name}, "status": status}


async def test_jobs_and_nodes_by_cluster(exposed: Exposed) -> None:
    exposed.follow()
    runtime = exposed.runtime
    runtime.seen("Cluster", None, cluster("nc6", idleNodeCount=1, unusableNodeCount=2))
    runtime.seen("Cluster", None, cluster("empty"))
    for found in (
        job("a", "queued", "nc6", timedelta(seconds=30)),
        job("b", "queued", "nc6", timedelta(seconds=90)),
        job("c", "running", "nc6", timedelta(hours=1)),
        job("d", "succeeded", "nc6"),
        job("e", None, "nc6"),
        job("f", "queued", "no-such-cluster", timedelta(seconds=5)),
    ):
        runtime.seen("Job", None, found)

    def jobs(cluster: str, state: str) -> float | None:
        return exposed.value("batchai_jobs", namespace="ns", cluster=cluster, state=state)

    def oldest(cluster: str) -> float | None:
        return exposed.value("batchai_queue_oldest_seconds", namespace="ns", cluster=cluster)

    def nodes(cluster: str, state: str) -> float | None:
        return exposed.value("batchai_nodes", namespace="ns", cluster=cluster, state=state)

    assert [jobs("nc6", state) for state in ("queued", "running", "succeeded", "failed")] == [3, 1, 1, 0]
    assert (jobs("empty", "queued"), jobs("", "queued"), jobs("no-such-cluster", "queued")) == (0, 1, None)
    # The one of 121 s was made then; it is not accepted yet.
    assert (oldest("nc6"), oldest("empty"), oldest("")) == (121, 0, 5)
    assert (nodes("nc6", "idle"), nodes("nc6", "unusable"), nodes("empty", "idle")) == (1, 2, 0)
    assert exposed.value("batchai_work_queue_length")
    assert not [values for _, values in exposed.series() if values & set("abcdef")]


async def test_a_deleted_clusters_series_vanish(exposed: Exposed) -> None:
    exposed.follow()
    gone = cluster("gone", idleNodeCount=1)
    exposed.runtime.seen("Cluster", None, gone)
    exposed.runtime.seen("Job", None, job("a", "running", "gone"))
    assert ("batchai_nodes", {"ns", "gone", "idle"}) in exposed.series()
    exposed.runtime.seen("Cluster", "DELETED", gone)
    assert not [values for _, values in exposed.series() if "gone" in values]


async def test_a_replica_that_waits_has_process_metrics_only(exposed: Exposed) -> None:
    exposed.metrics.requested("get", "leases", 200, 0.01)
    found = {name for name, _ in exposed.series()}
    assert "process_resident_memory_bytes" in found
    assert {name for name in found if name.startswith("batchai_")} == {
        f"batchai_api_request_duration_seconds_{suffix}" for suffix in ("bucket", "count", "sum", "created")
    }


async def test_what_is_observed_is_counted(exposed: Exposed) -> None:
    metrics = exposed.metrics
    for status in (200, 201, 409, 503, 0):
        metrics.requested("patch", "jobs/status", status, 0.2)
    metrics.reconciled("Job", "conflict", 0.003)
    metrics.reconciled("Job", "success", 0.002)
    metrics.job_started("containers", 3.0)

    def requests(code: str) -> float | None:
        name = "batchai_api_request_duration_seconds_count"
        return exposed.value(name, verb="patch", resource="jobs/status", code=code)

    assert [requests(code) for code in ("2xx", "4xx", "5xx", "none", "3xx")] == [2, 1, 1, 1, None]
    assert exposed.value("batchai_reconcile_duration_seconds_sum", kind="Job") == 0.005
    assert exposed.value("batchai_reconcile_errors_total", kind="Job", reason="conflict") == 1
    assert exposed.value("batchai_job_start_seconds_bucket", stage="containers", le="5.0") == 1
    assert exposed.value("batchai_job_start_seconds_bucket", stage="containers", le="2.0") == 0


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in _strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _strings(item))


def _queried(value: object) -> set[str]:
    return {name for text in _strings(value) for name in NAME.findall(text)}


async def test_the_dashboard_and_the_alerts_query_what_exists(exposed: Exposed) -> None:
    exposed.follow()
    families = exposed.families()
    sampled = families | {f"{name}_{suffix}" for name in families for suffix in ("bucket", "count", "sum")}
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    alerts = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    for queries in (dashboard, alerts):
        assert _queried(queries)
        assert _queried(queries) <= sampled
    shown = {name for name in families if any(query.startswith(name) for query in _queried(dashboard))}
    assert {name for name in families if name.startswith("batchai_")} <= shown


async def test_operations_lists_every_metric(exposed: Exposed) -> None:
    exposed.follow()
    table = (ROOT / "docs" / "operations.md").read_text()
    listed = set(re.findall(r"^\| `(batchai_[a-z_]+)`", table, re.MULTILINE))
    assert listed == {name for name in exposed.families() if name.startswith("batchai_")}


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = json.loads((MONITORING / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
