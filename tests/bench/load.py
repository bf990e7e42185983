"""Jobs, how they are posted, and when their pods were seen: by the operator's doing, or by a bare client's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.bench.world import ACCOUNT, CLUSTER, MARK, NAMESPACE, VM_SIZE, World, resource

from batchai.api import names
from batchai.api.cluster import ClusterSpec
from batchai.api.job import Job
from batchai.kube.client import JOBS, PODS, Resource
from batchai.plan.directories import JobIdentity
from batchai.plan.mounts import Surroundings
from batchai.plan.pods import Attempt, Images, all_mounts, job_pods

Object = dict[str, Any]
_IMAGE = "batchai/bench:none"
_IN_FLIGHT = 32
_TOLERATION = {"key": MARK, "operator": "Exists"}


def job(name: str, *, nodes: int = 1, seconds: float | None = None, priority: str = "normal") -> Object:
    """A Job with a file share, as most are; without `seconds` it runs until somebody ends it."""
    share = {"azureFileUrl": f"https://{ACCOUNT}.file.core.windows.net/logs", "relativeMountPath": "logs"}
    runs_for = [{"name": "BENCH_RUNS_FOR", "value": f"{seconds}s"}] if seconds is not None else []
    return resource(
        "Job",
        name,
        {
            "experiment": "exp",
            "cluster": CLUSTER,
            "nodeCount": nodes,
            "schedulingPriority": priority,
            "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
            "mountVolumes": {"azureFileShares": [share]},
            "containerSettings": {"imageSourceRegistry": {"image": _IMAGE}},
            "customToolkitSettings": {"commandLine": "python train.py"},
            "environmentVariables": runs_for,
        },
    )


def pods_of(posted: Object, nodes: Sequence[str]) -> list[Object]:
    """The pods that the operator would make for a Job that was posted, without the finalizer that it takes away."""
    identity = JobIdentity("bench", NAMESPACE, "work", "exp", posted["metadata"]["name"], posted["metadata"]["uid"])
    job_of = Job.model_validate(posted)
    cluster = ClusterSpec.model_validate({"workspace": "work", "vmSize": VM_SIZE, "tolerations": [_TOLERATION]})
    pods = job_pods(
        job_of,
        identity,
        Attempt(1, tuple(nodes), 1),
        cluster=cluster,
        mounts=all_mounts(job_of, identity, cluster, Surroundings()),
        images=Images("batchai/launcher:none", {"*": _IMAGE}),
    )
    for pod in pods:
        pod["metadata"].pop("finalizers", None)
    return pods


class Sightings:
    """When this process saw what, in seconds of its clock.

    pods: Job name → when each of its pods was first seen; states: Job name → its execution states, and when each was
    first seen; reached: execution state → how many Jobs were seen in it; changed: when a Job changed last.
    """

    def __init__(self) -> None:
        self.pods: dict[str, list[float]] = {}
        self.states: dict[str, dict[str, float]] = {}
        self.reached: Counter[str] = Counter()
        self.changed = 0.0

    def saw_pod(self, kind: str, pod: Object) -> None:
        """A pod came, changed or went."""
        if kind == "ADDED":
            self.pods.setdefault(pod["metadata"]["labels"][names.LABEL_JOB], []).append(_now())

    def saw_job(self, _kind: str, found: Object) -> None:
        """A Job came, changed or went."""
        self.changed = _now()
        state = found.get("status", {}).get("executionState")
        if state is not None:
            states = self.states.setdefault(found["metadata"]["name"], {})
            if state not in states:
                states[state] = self.changed
                self.reached[state] += 1

    def have_pods(self, jobs: Iterable[str]) -> bool:
        """Each of these Jobs has a pod."""
        return all(name in self.pods for name in jobs)

    def latencies(self, posted: Mapping[str, float], nodes: int = 1) -> list[float]:
        """Seconds from the posting of each Job to the sight of its last pod; all must have been seen."""
        return [self.pods[name][nodes - 1] - since for name, since in posted.items()]


@asynccontextmanager
async def sightings(world: World) -> AsyncIterator[Sightings]:
    """Follows pods and Jobs from now on."""
    seen = Sightings()
    managed = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"

    async def follow(kind: Resource, selector: str, version: str, saw: Callable[[str, Object], None]) -> None:
        while True:  # The server ends a watch when it reads a CRD again.
            async for event, item in world.api.watch(kind, version, label_selector=selector):
                version = item["metadata"]["resourceVersion"]
                if event != "BOOKMARK" and item["metadata"].get("namespace") == NAMESPACE:
                    saw(event, item)

    # A group: a watch that breaks ends the row.
    async with asyncio.TaskGroup() as group:
        tasks = []
        for kind, selector, saw in ((PODS, managed, seen.saw_pod), (JOBS, "", seen.saw_job)):
            _, version = await world.api.list(kind, label_selector=selector)
            tasks.append(group.create_task(follow(kind, selector, version, saw)))
        yield seen
        for task in tasks:
            task.cancel()


Post = Callable[[Object], Coroutine[Any, Any, None]]


def by_operator(world: World) -> Post:
    """Posts a Job and leaves the rest to the operator."""

    async def post(body: Object) -> None:
        await world.api.create(JOBS, body, namespace=NAMESPACE)

    return post


def by_hand(world: World, nodes: Sequence[str]) -> Post:
    """Posts a Job and its pods, onto the next nodes in turn."""
    turn = 0

    async def post(body: Object) -> None:
        nonlocal turn
        count = body["spec"]["nodeCount"]
        mine = [nodes[(turn + index) % len(nodes)] for index in range(count)]
        turn += count
        posted = await world.api.create(JOBS, body, namespace=NAMESPACE)
        pods = pods_of(posted, mine)
        await asyncio.gather(*(world.api.create(PODS, pod, namespace=NAMESPACE) for pod in pods))

    return post


async def all_at_once(bodies: Sequence[Object], post: Post) -> dict[str, float]:
    """Posts as fast as a bounded number of requests at once allows; when each was begun."""
    begun: dict[str, float] = {}
    limit = asyncio.Semaphore(_IN_FLIGHT)

    async def one(body: Object) -> None:
        async with limit:
            begun[body["metadata"]["name"]] = _now()
            await post(body)

    await asyncio.gather(*(one(body) for body in bodies))
    return begun


async def paced(bodies: Sequence[Object], post: Post, rate: float) -> dict[str, float]:
    """Posts at fixed times, however long the answers take; when each was due."""
    due: dict[str, float] = {}
    start = _now()
    async with asyncio.TaskGroup() as group:
        for index, body in enumerate(bodies):
            when = start + index / rate
            await asyncio.sleep(when - _now())
            due[body["metadata"]["name"]] = when
            group.create_task(post(body))
    return due


def _now() -> float:
    return asyncio.get_running_loop().time()
