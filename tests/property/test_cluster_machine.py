"""A cluster's life at random: jobs come, are cancelled and end, nodes join, leave, die and come back, the target moves,
and the operator stops between any two writes. What must never happen is looked for after each step.

The world below holds what the API server would: nodes, jobs with their status, pods. The operator's steps use the
project's own decisions and write one object at a time, so that a crash may leave any prefix of a pass behind.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batchai.api.job import Job
from batchai.schedule import ledger
from batchai.schedule.nodes import NodeView, membership
from batchai.schedule.queue import QueuedJob, assign
from batchai.status import job as life
from batchai.status.pods import Problem

CLUSTER = ("ns", "c")
START = datetime(2026, 1, 1, tzinfo=UTC)
FAULT = Problem("NodeLost", "Node lost", {})
UID = "batchai.dev/job-uid"


class Killed(Exception):  # noqa: N818 - what happens to the operator
    """No further write."""


class ClusterLife(RuleBasedStateMachine):
    """The world, the user's and the hardware's moves, and the operator's passes."""

    @initialize(nodes=st.integers(3, 6), size=st.integers(2, 6))
    def begin(self, nodes: int, size: int) -> None:
        self.nodes = {f"n{index}": self.node(f"n{index}") for index in range(nodes)}
        self.jobs: dict[str, Job] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.target, self.waits = size, False
        self.count = 0
        self.now = START

    @staticmethod
    def node(name: str, **facts: Any) -> NodeView:
        given = {"owner": None, "ready": True, "schedulable": True, "gpus": 1, "gpus_expected": True, **facts}
        return NodeView(name, **given)

    # --- the user -------------------------------------------------------------------------------------------------

    @rule(nodes=st.integers(1, 4), priority=st.sampled_from(["low", "normal", "high"]))
    def submit(self, nodes: int, priority: str) -> None:
        self.count += 1
        name = f"j{self.count}"
        self.jobs[name] = Job.model_validate(
            {
                "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": self.now},
                "spec": {
                    "experiment": "e",
                    "cluster": "c",
                    "nodeCount": nodes,
                    "schedulingPriority": priority,
                    "stdOutErrPathPrefix": "/x",
                    "customToolkitSettings": {"commandLine": "true"},
                    "retryPolicy": {"limit": 100},
                },
                "status": {"executionState": "queued", "attempt": 0, "nodes": []},
            }
        )

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[name]
        state = job.status.execution_state
        if state in {"queued", "running"}:
            end = life.terminated if state == "queued" else life.terminating
            self.writes_left = 1
            self.write(job, end(job, self.now))

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """The Job goes at once; its pods end later."""
        del self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]

    @rule(size=st.integers(0, 6), waits=st.booleans())
    def resize(self, size: int, *, waits: bool) -> None:
        """waits: nodeDeallocationOption is waitforjobcompletion, else requeue."""
        self.target, self.waits = size, waits

    # --- the hardware ---------------------------------------------------------------------------------------------

    @rule()
    def join(self) -> None:
        name = f"n{len(self.nodes)}"
        self.nodes.setdefault(name, self.node(name))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), ready=st.booleans())
    def turn(self, data: st.DataObject, *, ready: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        self.nodes[name] = self.node(name, owner=self.nodes[name].owner, ready=ready)

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), phase=st.sampled_from(["Succeeded", "Failed"]))
    def end_pod(self, data: st.DataObject, phase: str) -> None:
        pod = self.pods[data.draw(st.sampled_from(sorted(self.pods)))]
        pod["status"]["phase"] = phase

    # --- the operator ---------------------------------------------------------------------------------------------

    @rule(writes=st.one_of(st.just(1000), st.integers(0, 12)))
    def operate(self, writes: int) -> None:
        """A pass over the cluster and one over each job; after so many writes the operator is killed."""
        self.now += timedelta(seconds=30)
        self.writes_left = writes
        try:
            self.pass_over_the_cluster()
            for name in list(self.jobs):
                self.pass_over_a_job(self.jobs[name])
        except Killed:
            pass

    def spend(self) -> None:
        if self.writes_left == 0:
            raise Killed
        self.writes_left -= 1

    def write(self, job: Job, status: Any) -> None:
        self.spend()
        self.jobs[job.metadata.name] = job.model_copy(update={"status": status})

    def pass_over_the_cluster(self) -> None:
        held = ledger.holders(self.jobs.values(), self.pods.values())
        running = [name for name, job in self.jobs.items() if job.status.execution_state == "running"]
        change = membership(list(self.nodes.values()), CLUSTER, target=self.target, held=held, expendable=running)
        for name in change.claim:
            self.spend()
            self.nodes[name] = self.node(name, owner=CLUSTER)
        for name in change.release:
            self.spend()
            self.nodes[name] = self.node(name, ready=self.nodes[name].ready)
        for name in sorted({held[node] for node in change.leaving}):
            job = self.jobs.get(name)
            if not self.waits and job is not None and job.status.execution_state == "running":
                self.write(job, life.requeued(job, FAULT, self.now).status)
        idle = [
            node.name
            for node in self.nodes.values()
            if node.owner == CLUSTER and node.usable and node.name not in held and node.name not in change.leaving
        ]
        queue = [
            QueuedJob(name, job.spec.scheduling_priority, job.metadata.creation_timestamp or START, job.spec.node_count)
            for name, job in self.jobs.items()
            if job.status.execution_state == "queued" and name not in held.values()
        ]
        groups = [[node for node, holder in held.items() if holder == name] for name in set(held.values())]
        for name, nodes in assign(queue, idle, groups).started.items():
            self.write(self.jobs[name], life.assigned(self.jobs[name], nodes, self.now))

    def pass_over_a_job(self, job: Job) -> None:
        state, nodes = job.status.execution_state, job.status.nodes or []
        own = {name: pod for name, pod in self.pods.items() if pod["metadata"]["labels"][UID] == job.metadata.uid}
        planned = {f"{job.metadata.name}-{job.status.attempt}-{index}": node for index, node in enumerate(nodes)}
        if state != "running":
            for name in own:
                self.spend()
                del self.pods[name]
            if state == "terminating":
                self.write(job, life.terminated(job, self.now))
        elif any(not self.nodes[node].ready for node in nodes):
            self.write(job, life.lost(job, FAULT, self.now).status)
        elif any(own[name]["status"]["phase"] == "Failed" for name in planned.keys() & own.keys()):
            self.write(job, life.failed(job, FAULT, self.now, exit_code=1))
        else:
            for name, node in planned.items():
                if name not in own:
                    self.spend()
                    self.pods[name] = self.pod(job, name, node)

    @staticmethod
    def pod(job: Job, name: str, node: str) -> dict[str, Any]:
        labels = {"batchai.dev/job": job.metadata.name, UID: job.metadata.uid}
        metadata = {"name": name, "labels": labels, "annotations": {"batchai.dev/node": node}}
        return {"metadata": metadata, "status": {"phase": "Running"}}

    @rule()
    def collect(self) -> None:
        """Pods of deleted jobs end, as Kubernetes' garbage collection has it."""
        uids = {job.metadata.uid for job in self.jobs.values()}
        for name, pod in list(self.pods.items()):
            if pod["metadata"]["labels"][UID] not in uids:
                del self.pods[name]

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def no_node_has_two_jobs(self) -> None:
        holders: dict[str, str] = {}
        for name, job in getattr(self, "jobs", {}).items():
            if job.status.execution_state in ledger.HOLDING_STATES:
                for node in job.status.nodes or []:
                    assert holders.setdefault(node, name) == name
        for pod in getattr(self, "pods", {}).values():
            node, name = (
                pod["metadata"]["annotations"]["batchai.dev/node"],
                pod["metadata"]["labels"]["batchai.dev/job"],
            )
            if pod["status"]["phase"] == "Running" and node in holders:
                assert holders[node] == name, "a job got a node on which another one still runs"

    @invariant()
    def gangs_are_whole(self) -> None:
        for job in getattr(self, "jobs", {}).values():
            nodes = job.status.nodes or []
            if job.status.execution_state in ledger.HOLDING_STATES:
                assert len(set(nodes)) == job.spec.node_count

    @invariant()
    def a_node_with_a_job_is_not_given_back(self) -> None:
        for job in getattr(self, "jobs", {}).values():
            if job.status.execution_state in ledger.HOLDING_STATES:
                assert all(self.nodes[node].owner == CLUSTER for node in job.status.nodes or [])

    def teardown(self) -> None:
        """With nodes enough and the operator left alone, every job comes to run: none starves, none is forgotten."""
        if not hasattr(self, "jobs"):
            return
        self.target = len(self.nodes)
        for name, node in self.nodes.items():
            self.nodes[name] = self.node(name, owner=node.owner)
        waiting = {
            name
            for name, job in self.jobs.items()
            if job.status.execution_state == "queued" and job.spec.node_count <= self.target
        }
        for _ in range(2 * len(self.jobs) + 2):
            self.operate(writes=1000)
            for name, job in list(self.jobs.items()):
                if job.status.execution_state in ledger.HOLDING_STATES:
                    waiting.discard(name)
                    self.write(job, life.failed(job, FAULT, self.now))
            self.pods = {}
        assert not waiting, f"{waiting} never got nodes"


ClusterLife.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestClusterLife = ClusterLife.TestCase
