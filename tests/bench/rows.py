"""The rows of the bench: each makes its own nodes, asks a bare client for the floor, then the operator.

Every row ends with nothing left of it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tests.bench.audit import Audit, Write, most
from tests.bench.figures import Figure, Row, latency, percentile
from tests.bench.load import (
    Object,
    Post,
    Sightings,
    all_at_once,
    by_hand,
    by_operator,
    job,
    paced,
    pods_of,
    sightings,
)
from tests.bench.world import MARK, NAMESPACE, OPERATOR, World, kubectl, until

from batchai.api import names
from batchai.kube.client import JOBS, PODS, Resource

_INDEXED = Resource("batch", "v1", "jobs")
_RATE = 20.0
"""Jobs a second of the rows with a steady stream."""


async def idle(world: World) -> Row:
    """One Job at a time, nothing else to do."""
    nodes = await world.make_nodes(100)
    async with _bare(world) as seen:
        floor = await _one_by_one(seen, _names("floor", 50), by_hand(world, nodes))
    async with _operated(world, len(nodes)) as seen:
        await _one_by_one(seen, _names("warm", 3), by_operator(world))
        found = await _one_by_one(seen, _names("job", 97), by_operator(world))
    return Row(latency("idle", found, floor), {"idle": found, "idle floor": floor})


async def _one_by_one(seen: Sightings, jobs: Iterable[str], post: Post) -> list[float]:
    found = []
    for name in jobs:
        posted = await all_at_once([job(name)], post)
        await until(lambda posted=posted: seen.have_pods(posted), f"a pod of {name}", 30)
        found += seen.latencies(posted)
        await asyncio.sleep(0.1)
    return found


async def steady(world: World) -> Row:
    """20 Jobs a second that run for 50 s: 1,000 live ones when the measuring begins."""
    life, measured = 50, 60
    # More than 20/s x 50 s: where the machine is slow, pods are longer on their nodes, and no job may wait for one.
    nodes = await world.make_nodes(1500)
    async with _bare(world) as seen:
        floor = await _stream(seen, [job(name) for name in _names("floor", 20 * 20)], by_hand(world, nodes))
    async with _operated(world, len(nodes)) as seen:
        bodies = [job(name, seconds=life) for name in _names("job", int(_RATE) * (life + measured))]
        every = await _stream(seen, bodies, by_operator(world))
        found = every[int(_RATE) * life :]
    return Row(latency("steady", found, floor), {"steady": found, "steady floor": floor})


async def _stream(seen: Sightings, bodies: Sequence[Object], post: Post) -> list[float]:
    posted = await paced(bodies, post, _RATE)
    await until(lambda: seen.have_pods(posted), "pods of the stream", 120)
    return seen.latencies(posted)


async def burst(world: World) -> Row:
    """1,000 Jobs at once on 1,000 free nodes."""
    count = 1000
    nodes = await world.make_nodes(count)
    async with _bare(world) as seen:
        floor, floor_latencies = await _jobs_then_pods(world, seen, count, nodes)
    async with _operated(world, count) as seen:
        before = await world.operator()
        posted = await all_at_once([job(name) for name in _names("job", count)], by_operator(world))
        await until(lambda: seen.have_pods(posted), f"{count} pods", 300)
        await _settled(seen)
        after = await world.operator()
        found = seen.latencies(posted)
        seconds = max(seen.pods[name][0] for name in posted) - min(posted.values())
    figures = [
        Figure("burst.seconds", seconds, "s", floor),
        Figure("burst.rate", count / seconds, "Jobs/s"),
        Figure("burst.cpu", 1000 * (after.cpu - before.cpu) / count, "ms per Job"),
    ]
    return Row(figures, {"burst": found, "burst floor": floor_latencies})


async def _jobs_then_pods(world: World, seen: Sightings, count: int, nodes: Sequence[str]) -> tuple[float, list[float]]:
    """The floor of many Jobs: seconds until all Jobs and then a pod for each node are there."""
    posted: list[Object] = []

    async def post(body: Object) -> None:
        posted.append(await world.api.create(JOBS, body, namespace=NAMESPACE))

    async def post_pod(pod: Object) -> None:
        await world.api.create(PODS, pod, namespace=NAMESPACE)

    begun = await all_at_once([job(name) for name in _names("floor", count)], post)
    pods = [pods_of(body, [node])[0] for body, node in zip(posted, nodes, strict=False)]
    await all_at_once(pods, post_pod)
    with_pods = {body["metadata"]["name"]: begun[body["metadata"]["name"]] for body in posted[: len(pods)]}
    await until(lambda: seen.have_pods(with_pods), "the floor's pods", 300)
    return max(seen.pods[name][0] for name in with_pods) - min(begun.values()), seen.latencies(with_pods)


async def backlog(world: World) -> Row:
    """10,000 Jobs on 500 nodes: acceptance, rest, a high-priority Job, a restart."""
    count, running = 10_000, 500
    nodes = await world.make_nodes(running)
    async with _bare(world) as seen:
        floor, _ = await _jobs_then_pods(world, seen, count, nodes)
        urgent_floor = await _one_by_one(seen, _names("bare", 10), by_hand(world, nodes))
    async with _operated(world, running) as seen:
        posted = await all_at_once([job(name) for name in _names("job", count)], by_operator(world))
        await until(lambda: len(seen.states) >= count, f"{count} Jobs are accepted", 900)
        accepted = max(min(seen.states[name].values()) for name in posted) - min(posted.values())
        await until(lambda: seen.reached["running"] >= running, f"{running} Jobs run", 120)
        await _settled(seen)
        figures = [Figure("backlog.accepted", accepted, "s", floor), *await _rest(world, 60)]
        urgent = await _urgent(world, seen, 10)
        figures += [Figure("backlog.urgent", 1000 * max(urgent), "ms", 1000 * max(urgent_floor))]
        await _settled(seen)
        figures += await _restart(world, seen)
    return Row(figures, {"urgent": urgent, "urgent floor": urgent_floor})


async def _rest(world: World, seconds: float) -> list[Figure]:
    """What the operator takes while nothing changes."""
    audit = await Audit.begin(world)
    before = await world.operator()
    await asyncio.sleep(seconds)
    after = await world.operator()
    writes = await audit.writes()
    return [
        Figure("backlog.memory", after.resident, "MiB"),
        Figure("backlog.idle-cpu", 100 * (after.cpu - before.cpu) / seconds, "% of a core"),
        Figure("backlog.idle-writes", len(writes), "writes"),
    ]


async def _urgent(world: World, seen: Sightings, times: int) -> list[float]:
    """From the end of a running pod to the pod of the Job of high priority that waits for its node."""
    running = [name for name, states in seen.states.items() if "running" in states]
    found = []
    for name, ending in zip(_names("urgent", times), running, strict=False):
        await by_operator(world)(job(name, priority="high"))
        await until(lambda name=name: name in seen.states, f"{name} waits", 60)
        await _settled(seen)
        since = asyncio.get_running_loop().time()
        await _end(world, f"{ending}-1-0")
        await until(lambda name=name: name in seen.pods, f"{name} starts", 60)
        found.append(seen.pods[name][0] - since)
    return found


async def _end(world: World, pod: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {"exitCode": 0, "startedAt": now, "finishedAt": now}
    container = {"name": "job", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Succeeded", "containerStatuses": [container | {"state": {"terminated": terminated}}]}
    await world.patch_pod_status(pod, status)


async def _restart(world: World, seen: Sightings) -> list[Figure]:
    """A new operator's way to readiness, and what it writes about Jobs that are as they should be."""
    audit = await Audit.begin(world)
    old = (await world.operator_pod())["metadata"]["name"]
    since = asyncio.get_running_loop().time()
    await kubectl("delete", "pod", old, "-n", OPERATOR)

    async def ready() -> bool:
        found = json.loads(await kubectl("get", "pods", "-n", OPERATOR, "-o", "json"))["items"]
        new = [pod for pod in found if pod["metadata"]["name"] != old]
        return any(status["ready"] for pod in new for status in pod["status"].get("containerStatuses", []))

    await until(ready, "the new operator is ready", 180)
    seconds = asyncio.get_running_loop().time() - since
    await asyncio.sleep(30)
    await _settled(seen)
    writes = [write for write in await audit.writes() if write.resource.startswith("jobs")]
    after = await world.operator()
    since = asyncio.get_running_loop().time()
    await world.api.list(JOBS)
    listed = asyncio.get_running_loop().time() - since
    return [
        Figure("backlog.restart", seconds, "s", listed),
        Figure("backlog.restart-writes", len(writes), "writes"),
        Figure("backlog.restart-memory", after.resident, "MiB"),
    ]


async def calls(world: World) -> Row:
    """What a Job of one node costs in its whole life; creates: of the first, whose Secret was not looked for yet."""
    count = 20
    await world.make_nodes(count)
    async with _operated(world, count) as seen:

        async def live(jobs: list[str]) -> list[Write]:
            audit = await Audit.begin(world)
            await all_at_once([job(name, seconds=2) for name in jobs], by_operator(world))
            await until(lambda: all("succeeded" in seen.states.get(name, ()) for name in jobs), "Jobs succeed", 60)
            await _settled(seen)
            return [write for write in await audit.writes() if write.namespace == NAMESPACE]

        first = await live(_names("first", 1))
        writes = await live(_names("job", count))
    kinds = most(writes, _job_of)
    creates = [write for write in first if write.verb == "create" and write.resource != "pods"]
    patches = sum(number for kind, number in kinds.items() if kind.startswith("patch"))
    print(", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())), file=sys.stderr)
    return Row(
        [
            Figure("calls.creates", len(creates), "creates"),
            Figure("calls.pods", kinds["create pods"], "pods"),
            Figure("calls.patches", patches, "patches"),
            Figure("calls.mean", len(writes) / count, "writes"),
        ]
    )


def _job_of(write: Write) -> str | None:
    """The Job that a write was for: its own name, or that of its first pod."""
    if write.resource.startswith("jobs"):
        return write.name
    return write.name.removesuffix("-1-0") if write.resource.startswith("pods") else None


async def gang(world: World) -> Row:
    """A Job of 500 nodes beside 20 Jobs a second."""
    size, before, beside = 500, 20, 40
    nodes = await world.make_nodes(size + 200)
    async with _bare(world) as seen:
        floor, _, floor_gang = await _gang(seen, by_hand(world, nodes), size, before, beside)
    async with _operated(world, len(nodes)) as seen:
        alone, together, seconds = await _gang(seen, by_operator(world), size, before, beside)
    added = percentile(together, 0.99) - percentile(alone, 0.99)
    figures = [
        *latency("gang.stream", together, floor),
        Figure("gang.added", 1000 * added, "ms"),
        Figure("gang.seconds", seconds, "s", floor_gang),
    ]
    return Row(figures, {"gang stream alone": alone, "gang stream beside": together})


async def _gang(
    seen: Sightings, post: Post, size: int, before: float, beside: float
) -> tuple[list[float], list[float], float]:
    """Latencies of the stream before the gang and beside it; seconds from the gang's posting to its last pod."""
    split = int(_RATE * before)
    bodies = [job(name, seconds=5) for name in _names("job", int(_RATE * (before + beside)))]
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(_stream(seen, bodies, post))
        await asyncio.sleep(before)
        posted = await all_at_once([job("gang", nodes=size)], post)
        await until(lambda: len(seen.pods.get("gang", ())) >= size, f"{size} pods", 180)
    found = stream.result()
    return found[:split], found[split:], seen.latencies(posted, size)[0]


async def indexed(world: World) -> Row:
    """Indexed Jobs of Kubernetes at the default limits of its controller, and as many Jobs of ours."""
    count = 200
    await world.make_nodes(count)
    async with _operated(world, count) as seen:
        posted = await all_at_once([job(name) for name in _names("job", count)], by_operator(world))
        await until(lambda: seen.have_pods(posted), f"{count} pods", 120)
        ours = max(seen.pods[name][0] for name in posted) - min(posted.values())
    await world.make_namespace()
    since = asyncio.get_running_loop().time()
    await world.each(
        world.api.create(_INDEXED, _indexed_job(name), namespace=NAMESPACE) for name in _names("indexed", count)
    )

    async def created() -> bool:
        pods, _ = await world.api.list(PODS, label_selector=MARK)
        return len(pods) >= count

    await until(created, f"{count} pods of Indexed Jobs", 120, every=0.5)
    theirs = asyncio.get_running_loop().time() - since
    await world.empty_namespace()
    return Row([Figure("indexed.ours", count / ours, "Jobs/s"), Figure("indexed.theirs", count / theirs, "Jobs/s")])


def _indexed_job(name: str) -> Object:
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {MARK: "true"},
        "tolerations": [{"key": MARK, "operator": "Exists"}],
        "containers": [
            {"name": "job", "image": "batchai/bench:none", "resources": {"limits": {names.GPU_RESOURCE: "1"}}}
        ],
    }
    spec = {
        "completionMode": "Indexed",
        "completions": 1,
        "parallelism": 1,
        "template": {"metadata": {"labels": {MARK: "true"}}, "spec": pod},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


# --- what rows share --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _bare(world: World) -> AsyncIterator[Sightings]:
    """No operator; an empty namespace for the floor."""
    await world.stop_operator()
    await world.make_namespace()
    async with sightings(world) as seen:
        yield seen
    await world.empty_namespace()


@asynccontextmanager
async def _operated(world: World, nodes: int) -> AsyncIterator[Sightings]:
    """The operator runs, and a Cluster owns all the nodes."""
    await world.start_operator()
    await world.make_namespace()
    await world.make_cluster(nodes)
    async with sightings(world) as seen:
        yield seen
    await world.empty_namespace()


async def _settled(seen: Sightings) -> None:
    """No Job has changed for a while."""
    await until(lambda: asyncio.get_running_loop().time() - seen.changed > 2, "Jobs come to rest", 300)


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{index:05}" for index in range(count)]


ROWS: Mapping[str, Callable[[World], Awaitable[Row]]] = {
    row.__name__: row for row in (idle, steady, burst, backlog, calls, gang, indexed)
}
