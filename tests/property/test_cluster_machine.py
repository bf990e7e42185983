"""A cluster's life at random: jobs come, are cancelled and end, nodes join, leave, fall ill and recover, the target
moves, and the operator stops between any two writes. What must never happen is looked for after each step.

The operator is the product's own: its reconcilers make their passes over a Kubernetes in memory.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.property.world import World, node_of

from batchai.api import names
from batchai.api.job import TERMINAL_STATES, Job
from batchai.errors import BatchAIError, KubeApiError
from batchai.kube.client import CLUSTERS, EXPERIMENTS, JOBS, KINDS, NODES, PODS, WORKSPACES, Resource
from batchai.kube.store import Object, ObjectStore, Store
from batchai.reconcile.cluster import ClusterReconciler
from batchai.reconcile.context import Context, Key
from batchai.reconcile.job import JobReconciler
from batchai.reconcile.jobqueue import waiter
from batchai.reconcile.queue import WorkQueue
from batchai.reconcile.runtime import _pod_store as pod_store
from batchai.reconcile.slim import slim_node, slim_pod
from batchai.reconcile.writes import owned
from batchai.schedule.nodes import view
from batchai.schedule.queue import QueuedJob
from batchai.settings import Settings

TAINTS = {"sick": names.TAINT_GPU_UNHEALTHY, "going": "ToBeDeletedByClusterAutoscaler"}
OPTIONS = ["requeue", "terminate", "waitforjobcompletion"]


class Killed(Exception):  # noqa: N818 - what happens to the operator
    """No further write."""


def cut_off() -> KubeApiError:
    return KubeApiError(0, "", "no answer")


class Operator:
    """The operator's reconcilers, and what they know of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._objects, self._pods, self._nodes = ObjectStore(KINDS), pod_store(), Store()
        context = Context(
            api=world,
            objects=self._objects,
            pods=self._pods,
            nodes=self._nodes,
            volumes=Store({label: lambda _: None for label in (names.LABEL_JOB, names.LABEL_SETUP)}),
            mount_failures={},
            queue=WorkQueue[Key](lambda: 1.0),
            settings=Settings("launcher", {"*": "image"}, "batchai-system", "me"),
            clock=lambda: world.now,
            subscription="s",
        )
        self._reconcilers = {"Cluster": ClusterReconciler(context), "Job": JobReconciler(context)}

    def hear(self, *, everything: bool) -> None:
        """The watches bring what is new: of pods, and of everything else unless they lag."""
        self._renew(PODS, self._pods.items(), self._pods.remove, lambda pod: self._pods.put(slim_pod(pod)))
        if not everything:
            return
        self._renew(NODES, self._nodes.items(), self._nodes.remove, lambda node: self._nodes.put(slim_node(node)))
        for kind, resource in KINDS.items():
            remove, put = partial(self._objects.remove, kind), partial(self._objects.put, kind)
            self._renew(resource, self._objects.list(kind), remove, put)

    def _renew(
        self, resource: Resource, known: list[Object], remove: Callable[[Object], Any], put: Callable[[Object], Any]
    ) -> None:
        items = self._world.all(resource)
        uids = {item["metadata"]["uid"] for item in items}
        for item in known:
            if item["metadata"]["uid"] not in uids:
                remove(item)
        for item in items:
            put(item)

    async def look(self, kind: str, name: str) -> bool:
        """A pass, and whether it came to its end; what a worker takes for an error is left to the next one."""
        with suppress(BatchAIError):
            await self._reconcilers[kind].reconcile(Key(kind, "ns", name))
            return True
        return False


class ClusterLife(RuleBasedStateMachine):
    """The user's and the hardware's moves, the operator's passes, and what must hold.

    ended: UID → the state in which a job ended; results: UID → the attempt that succeeded;
    faulty: UID → the nodes whose GPUs ended an attempt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.operator: Operator | None = None
        self.ended: dict[str, str] = {}
        self.results: dict[str, int] = {}
        self.faulty: dict[str, set[str]] = {}
        self.joined = 0
        for resource, body in (
            (WORKSPACES, ours("Workspace", "w", {})),
            (EXPERIMENTS, ours("Experiment", "e", {"workspace": "w"}, {names.LABEL_WORKSPACE: "w"})),
            (CLUSTERS, ours("Cluster", "c", {"workspace": "w", "vmSize": "S", "nodeProvisioning": "none"})),
        ):
            self.world.add(resource, body)

    @initialize(nodes=st.integers(3, 6), jobs=st.lists(st.integers(1, 4), min_size=2, max_size=5))
    def begin(self, nodes: int, jobs: list[int]) -> None:
        for _ in range(nodes):
            self.join()
        self.scale(nodes, "requeue")
        for size in jobs:
            self.submit(size, "normal")
        self.live()

    # --- the user -------------------------------------------------------------------------------------------------

    @rule(nodes=st.integers(1, 4), priority=st.sampled_from(["low", "normal", "high"]))
    def submit(self, nodes: int, priority: str) -> None:
        """A name that is free again is taken first."""
        taken = {job["metadata"]["name"] for job in self.jobs}
        name = next(name for number in range(len(taken) + 1) if (name := f"j{number}") not in taken)
        spec = {
            "experiment": "e",
            "cluster": "c",
            "nodeCount": nodes,
            "schedulingPriority": priority,
            "stdOutErrPathPrefix": "/x",
            "customToolkitSettings": {"commandLine": "true"},
            "retryPolicy": {"limit": 100},
        }
        self.world.add(JOBS, ours("Job", name, spec))

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.world.change(JOBS, self.pick(data, self.jobs), {"spec": {"terminate": True}})

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """The Job goes at once; its pods end later."""
        self.world.remove(JOBS, self.pick(data, self.jobs))

    @rule(size=st.integers(0, 6), option=st.sampled_from(OPTIONS), at_once=st.booleans())
    def resize(self, size: int, option: str, at_once: bool) -> None:
        """at_once: the operator sees it before anything else happens."""
        self.scale(size, option)
        if at_once:
            self.live()

    def scale(self, size: int, option: str) -> None:
        scale = {"manual": {"targetNodeCount": size, "nodeDeallocationOption": option}}
        self.world.change(CLUSTERS, self.cluster, {"spec": {"scaleSettings": scale}})

    # --- the hardware ---------------------------------------------------------------------------------------------

    @rule()
    def join(self) -> None:
        self.joined += 1
        gpus = {names.GPU_RESOURCE: "1"}
        node = {
            "metadata": {"name": f"n{self.joined}", "labels": {names.INSTANCE_TYPE_LABEL: "S"}},
            "status": {"allocatable": gpus, "capacity": gpus, "conditions": [{"type": "Ready", "status": "True"}]},
        }
        self.world.add(NODES, node)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.world.remove(NODES, self.pick(data, self.nodes))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), state=st.sampled_from(["ready", "not ready", *TAINTS]))
    def turn(self, data: st.DataObject, state: str) -> None:
        self.make(self.pick(data, self.nodes), state)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), state=st.sampled_from(["not ready", *TAINTS]))
    def fall_ill(self, data: st.DataObject, state: str) -> None:
        """Something is wrong with the node of a job for a while."""
        name = self.pick(data, self.busy)["metadata"]["name"]
        for turn in (state, "ready"):
            self.make(self.world.find(NODES, name), turn)
            self.live()

    def make(self, node: Object, state: str) -> None:
        keys = [key for key in taints(node) if key not in TAINTS.values()]
        keys += [key for name, key in TAINTS.items() if name == state]
        ready = [{"type": "Ready", "status": "False" if state == "not ready" else "True"}]
        spec = {"taints": [{"key": key, "effect": "NoSchedule"} for key in keys]}
        self.world.change(NODES, node, {"spec": spec, "status": {"conditions": ready}})

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), code=st.sampled_from([0, 0, 1]))
    def end_pod(self, data: st.DataObject, code: int) -> None:
        self.end(self.pick(data, self.processes), code)

    def end(self, pod: Object, code: int) -> None:
        self.world.end(pod, code)
        job, labels = self.owner(pod), pod["metadata"]["labels"]
        attempt, index = int(labels[names.LABEL_ATTEMPT]), labels[names.LABEL_INDEX]
        if job and (code, index, state(job), job["status"]["attempt"]) == (0, "0", "running", attempt):
            self.results[job["metadata"]["uid"]] = attempt

    # --- the operator ---------------------------------------------------------------------------------------------

    @rule()
    def live(self) -> None:
        """Kubernetes does its part, and nothing disturbs the operator."""
        for _ in range(2):
            self.world.now += timedelta(seconds=30)
            self.world.turn()
            asyncio.run(self.operate(hears=True))
        self.what_is_over_keeps_no_node()
        self.nobody_runs_on_too_many_nodes()
        assert all(owned(job, "Experiment") for job in self.jobs), "a job would survive its Experiment"

    @rule(writes=st.integers(0, 12), dies=st.booleans(), hears=st.booleans())
    def fail(self, writes: int, dies: bool, hears: bool) -> None:
        """After so many writes the operator is killed, or gets no answer any more; it may have heard of pods only."""
        self.world.left, self.world.fault = writes, Killed if dies else cut_off
        try:
            with suppress(Killed):
                asyncio.run(self.operate(hears=hears))
        finally:
            self.world.left = inf
        if dies:
            self.operator = None

    async def operate(self, *, hears: bool) -> None:
        """A pass over the cluster and one over each job that has something left to do, as far as it comes."""
        self.world.now += timedelta(seconds=1)
        hears = hears or self.operator is None
        self.operator = self.operator or Operator(self.world)
        self.operator.hear(everything=hears)
        sick = {node["metadata"]["name"] for node in self.nodes if TAINTS["sick"] in taints(node)}
        try:
            if await self.operator.look("Cluster", "c") and hears:
                self.nobody_delays_the_first()
            for name in self.unfinished():
                await self.operator.look("Job", name)
        finally:
            if hears:
                self.note_faults(sick)

    def note_faults(self, sick: set[str]) -> None:
        for job in self.jobs:
            for attempt in job["status"].get("attempts", [])[-1:]:
                if attempt.get("reason") == "GpuUnhealthy" and attempt["endTime"] == self.world.time():
                    self.faulty.setdefault(job["metadata"]["uid"], set()).update(sick & {*attempt["nodes"]})

    # --- what there is --------------------------------------------------------------------------------------------

    @property
    def cluster(self) -> Object:
        return self.world.find(CLUSTERS, "c")

    @property
    def jobs(self) -> list[Object]:
        return self.world.all(JOBS)

    @property
    def nodes(self) -> list[Object]:
        return self.world.all(NODES)

    @property
    def busy(self) -> list[Object]:
        """Nodes that jobs hold."""
        held = self.holders()
        return [node for node in self.nodes if node["metadata"]["name"] in held]

    @property
    def processes(self) -> list[Object]:
        """Pods whose processes may end by themselves."""
        return [
            pod
            for pod in self.world.all(PODS)
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    @staticmethod
    def pick(data: st.DataObject, items: list[Object]) -> Object:
        named = {item["metadata"]["name"]: item for item in items}
        return named[data.draw(st.sampled_from(sorted(named)))]

    def owner(self, pod: Object) -> Object | None:
        uid = pod["metadata"]["labels"][names.LABEL_JOB_UID]
        return next((job for job in self.jobs if job["metadata"]["uid"] == uid), None)

    def unfinished(self) -> list[str]:
        """The names of jobs that are not over, or belong to nobody yet, or have pods that are not over."""
        pods = [pod for pod in self.world.all(PODS) if is_alive(pod) or pod["metadata"].get("finalizers")]
        jobs = (job for job in self.jobs if state(job) not in TERMINAL_STATES or not owned(job, "Experiment"))
        live = {job["metadata"]["name"] for job in jobs}
        return sorted(live | {pod["metadata"]["labels"][names.LABEL_JOB] for pod in pods})

    def holders(self) -> dict[str, str]:
        """Node → the name of the job that runs there, or shall."""
        held = {
            node_of(pod): pod["metadata"]["labels"][names.LABEL_JOB] for pod in self.world.all(PODS) if is_alive(pod)
        }
        return held | {node: job["metadata"]["name"] for job in self.jobs for node in nodes_of(job)}

    # --- what must hold -------------------------------------------------------------------------------------------

    def what_is_over_keeps_no_node(self) -> None:
        for pod in self.world.all(PODS):
            job = self.owner(pod)
            if is_alive(pod) and (job is None or state(job) in TERMINAL_STATES):
                assert "deletionTimestamp" in pod["metadata"]

    def nobody_runs_on_too_many_nodes(self) -> None:
        """Unless the cluster waits for its jobs, those on nodes over the target are stopped."""
        scale = self.cluster["spec"]["scaleSettings"]["manual"]
        if scale["nodeDeallocationOption"] != "waitforjobcompletion":
            running = {node for job in self.jobs if state(job) == "running" for node in nodes_of(job)}
            kept = {node["metadata"]["name"] for node in self.nodes if TAINTS["going"] not in taints(node)}
            assert len(running & kept) <= scale["targetNodeCount"]

    def nobody_delays_the_first(self) -> None:
        """The first job that waits has too few nodes, and those that passed it take none that it will need.

        Whatever jobs end first: as soon as it had its nodes without those that passed it, it has them. After a pass of
        the cluster from which nodes do not leave.
        """
        own = [node for node in map(view, self.nodes) if node.owner == ("ns", "c")]
        size = self.cluster["spec"]["scaleSettings"]["manual"]["targetNodeCount"]
        if len(own) > size or any(node.going for node in own):
            return
        waiters = [found for job in self.jobs if (found := waiter(Job.model_validate(job)))]
        able = [found.entry for found in waiters if not (found.rests_until and found.rests_until > self.world.now)]
        first = min(able, key=lambda entry: entry.rank, default=None)
        held = self.holders()
        if first is None or first.name in held.values():
            return

        def suiting(nodes: Iterable[str]) -> int:
            return sum(node not in first.avoids for node in nodes)

        passers = {
            job["metadata"]["name"]
            for job in self.jobs
            if nodes_of(job)
            and job["status"]["attempts"][-1]["startTime"] == self.world.time()
            and rank(job) > first.rank
        }
        usable = {node.name for node in own if node.usable}
        idle = suiting(usable - held.keys())
        assert idle < first.node_count, f"{first.name} could have started"
        taken = suiting(node for node in usable if held.get(node) in passers)
        ways = {0}
        for name in {held[node] for node in usable & held.keys()} - passers:
            freed = suiting(node for node in usable if held.get(node) == name)
            ways |= {others + freed for others in ways}
        for freed in ways:
            if idle + taken + freed >= first.node_count:
                assert idle + freed >= first.node_count, f"{passers} delay {first.name}"

    @invariant()
    def no_node_has_two_jobs(self) -> None:
        holders: dict[str, tuple[str, int]] = {}
        for job in self.jobs:
            for node in nodes_of(job):
                found = (job["metadata"]["uid"], job["status"]["attempt"])
                assert holders.setdefault(node, found) == found
        for pod in self.world.all(PODS):
            labels = pod["metadata"]["labels"]
            if is_alive(pod) and (holder := holders.get(node_of(pod))):
                mine = (labels[names.LABEL_JOB_UID], int(labels[names.LABEL_ATTEMPT]))
                assert holder == mine, "a job got a node on which another one still runs"

    @invariant()
    def gangs_are_whole(self) -> None:
        for job in self.jobs:
            if state(job) in {"running", "terminating"}:
                assert len(set(nodes_of(job))) == job["spec"]["nodeCount"]

    @invariant()
    def a_node_with_a_job_is_not_given_back(self) -> None:
        free = {
            node["metadata"]["name"] for node in self.nodes if names.LABEL_CLUSTER not in node["metadata"]["labels"]
        }
        assert not free & {node for job in self.jobs for node in nodes_of(job)}

    @invariant()
    def a_node_that_failed_a_job_does_not_get_it_again(self) -> None:
        for job in self.jobs:
            assert not self.faulty.get(job["metadata"]["uid"], set()) & {*nodes_of(job)}

    @invariant()
    def an_end_is_final_and_a_result_is_kept(self) -> None:
        for job in self.jobs:
            uid, found = job["metadata"]["uid"], state(job)
            if found in TERMINAL_STATES:
                assert self.ended.setdefault(uid, found) == found
            assert uid in self.results or found != "succeeded"
            if uid in self.results:
                assert (found in {"running", "succeeded"}, job["status"]["attempt"]) == (True, self.results[uid])

    def teardown(self) -> None:
        """With nodes enough every job comes to succeed, whoever comes later: none starves, none is forgotten."""
        for node in self.nodes:
            self.make(node, "ready")
        for _ in range(4):
            self.join()
        self.scale(len(self.nodes), "requeue")
        waiting = {
            job["metadata"]["uid"]
            for job in self.jobs
            if state(job) in {None, "queued"} and not job["spec"].get("terminate")
        }
        for _ in range(2 * len(self.jobs) + 4):
            waiting -= {job["metadata"]["uid"] for job in self.jobs if state(job) == "succeeded"}
            if not waiting:
                break
            self.world.now += timedelta(minutes=5)
            self.submit(1, "low")
            self.live()
            for pod in self.processes:
                self.end(pod, 0)
        assert not waiting, "jobs never came to their end"


def ours(kind: str, name: str, spec: dict[str, Any], labels: dict[str, str] | None = None) -> Object:
    metadata = {"name": name, "namespace": "ns", "labels": labels or {}}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def state(job: Object) -> str | None:
    found: str | None = job["status"].get("executionState")
    return found


def nodes_of(job: Object) -> list[str]:
    """The nodes that a job holds."""
    found: list[str] = job["status"]["nodes"] if state(job) in {"running", "terminating"} else []
    return found


def rank(job: Object) -> tuple[int, float, str]:
    model = Job.model_validate(job)
    created = model.metadata.creation_timestamp
    assert created is not None
    return QueuedJob(model.metadata.name, model.spec.scheduling_priority, created, model.spec.node_count).rank


def taints(node: Object) -> list[str]:
    return [taint["key"] for taint in node["spec"].get("taints", [])]


def is_alive(pod: Object) -> bool:
    return pod["status"].get("phase") not in {"Succeeded", "Failed"}


ClusterLife.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestClusterLife = ClusterLife.TestCase
