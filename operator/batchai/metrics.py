"""The operator's Prometheus metrics. No label names a job; what is gone from the stores is gone from the gauges."""

import collections
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import get_args

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from batchai.kube.client import KINDS
from batchai.kube.store import ObjectStore
from batchai.reconcile.news import Failure, Outcome
from batchai.reconcile.runtime import Runtime
from batchai.schedule.nodes import NodeCounts
from batchai.status.job import ExecutionState

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
_CLUSTER = ("namespace", "cluster")


class Metrics:
    """A registry with what every replica has: its process, and its requests to the API server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Histogram(
            "batchai_api_request_duration_seconds",
            "Time until the API server's answer begins, by verb, resource and class of status code.",
            ("verb", "resource", "code"),
            buckets=_FAST,
            registry=self.registry,
        )
        self._passes = Histogram(
            "batchai_reconcile_duration_seconds",
            "Duration of a pass over an object, by its kind.",
            ("kind",),
            buckets=_FAST,
            registry=self.registry,
        )
        self._errors = Counter(
            "batchai_reconcile_errors",
            "Passes over an object that did not succeed, by its kind and the reason.",
            ("kind", "reason"),
            registry=self.registry,
        )
        self._starts = Histogram(
            "batchai_job_start_seconds",
            "Time from a job's creation until all pods, or all containers, of its first attempt were there.",
            ("stage",),
            buckets=_SLOW,
            registry=self.registry,
        )

    def requested(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """A request was answered, or not (status 0)."""
        code = f"{status // 100}xx" if status else "none"
        self._requests.labels(verb, resource, code).observe(seconds)

    def reconciled(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """A pass over an object ended."""
        self._passes.labels(kind).observe(seconds)
        if outcome != "success":
            self._errors.labels(kind, outcome).inc()

    def job_started(self, stage: str, seconds: float) -> None:
        """A job's first attempt came to this stage."""
        self._starts.labels(stage).observe(seconds)

    def follow(self, runtime: Runtime, clock: Callable[[], datetime]) -> None:
        """From now on the registry has what the runtime knows, too."""
        for kind in KINDS:
            for reason in get_args(Failure):
                self._errors.labels(kind, reason)  # from 0: an increase that starts a series would not be seen
        self.registry.register(_Knowledge(runtime, clock))


class _Knowledge(Collector):
    """What the runtime knows at the time of the scrape."""

    def __init__(self, runtime: Runtime, clock: Callable[[], datetime]) -> None:
        self._runtime = runtime
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked before the runtime works."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics of now."""
        yield from jobs(self._runtime.objects, self._clock())
        yield nodes(self._runtime.objects)
        health = self._runtime.health()
        yield GaugeMetricFamily(
            "batchai_work_queue_length", "Objects that wait for a pass over them.", value=health["queue"]
        )
        yield GaugeMetricFamily(
            "batchai_work_queue_oldest_seconds", "How long the first of them has waited.", value=health["oldest"]
        )
        silence = GaugeMetricFamily(
            "batchai_informer_silence_seconds",
            "Time since the API server was heard last; it speaks about once a minute.",
            labels=("resource",),
        )
        for resource, seconds in self._runtime.silence().items():
            silence.add_metric((resource,), seconds)
        yield silence
        dropped = CounterMetricFamily(
            "batchai_events_dropped", "Kubernetes Events that were not written.", labels=("cause",)
        )
        for cause, number in self._runtime.events_dropped.items():
            dropped.add_metric((cause,), number)
        yield dropped


def jobs(objects: ObjectStore, now: datetime) -> Iterator[Metric]:
    """Jobs by cluster and state, and how long the longest waiting one has waited.

    Jobs whose Cluster does not exist have the cluster "".
    """
    clusters = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in objects.list("Cluster")}
    states = get_args(ExecutionState)
    count = collections.Counter({(*cluster, state): 0 for cluster in clusters for state in states})
    since = dict.fromkeys(clusters, now)
    for job in objects.list("Job"):
        namespace, name = job["metadata"]["namespace"], job["spec"]["cluster"]
        cluster = (namespace, name if (namespace, name) in clusters else "")
        status = job.get("status", {})
        state = status.get("executionState", "queued")
        count[(*cluster, state)] += 1
        if state == "queued":
            began = status.get("executionStateTransitionTime", job["metadata"]["creationTimestamp"])
            since[cluster] = min(since.get(cluster, now), datetime.fromisoformat(began))
    by_state = GaugeMetricFamily("batchai_jobs", "Jobs by state.", labels=(*_CLUSTER, "state"))
    for labels, number in count.items():
        by_state.add_metric(labels, number)
    oldest = GaugeMetricFamily(
        "batchai_queue_oldest_seconds", "How long the longest waiting job has waited.", labels=_CLUSTER
    )
    for cluster, began in since.items():
        oldest.add_metric(cluster, (now - began).total_seconds())
    yield by_state
    yield oldest


def nodes(objects: ObjectStore) -> Metric:
    """Nodes by cluster and state, as the clusters' statuses say."""
    family = GaugeMetricFamily("batchai_nodes", "Nodes by state.", labels=(*_CLUSTER, "state"))
    for cluster in objects.list("Cluster"):
        metadata = cluster["metadata"]
        counts = cluster.get("status", {}).get("nodeStateCounts", {})
        for state in NodeCounts.__dataclass_fields__:
            labels = (metadata["namespace"], metadata["name"], state)
            family.add_metric(labels, counts.get(f"{state}NodeCount", 0))
    return family


@asynccontextmanager
async def served(registry: CollectorRegistry, port: int) -> AsyncIterator[None]:
    """Answers GET /metrics on all addresses meanwhile."""
    application = web.Application()
    application.router.add_get("/metrics", make_aiohttp_handler(registry))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()
