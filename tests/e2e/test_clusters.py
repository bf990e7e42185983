"""What a Cluster does: its queue, its size, its nodes, and what happens to jobs when these change."""

import json
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.jobs import UNTIL_TOLD, Cluster, Space, Storage, wait_until

SLEEPS = "trap 'exit 0' TERM; sleep 600 & wait"
OWNER = "batchai.dev/cluster"


@pytest.fixture(scope="module")
def home(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=3)
    yield space
    space.remove()


@pytest.fixture
def space(home: Space) -> Iterator[Space]:
    """The module's namespace, with a new cluster that has the three nodes."""
    home.make_cluster("nc6", {"manual": {"targetNodeCount": 3}})
    home.wait_until(lambda: home.counts("nc6").get("idle") == 3, "three nodes are idle")
    yield home
    home.clear()


def owned(space: Space) -> set[str]:
    return {node["metadata"]["name"] for node in space.cluster.list("nodes", selector=f"{OWNER}=nc6")}


def status(space: Space, name: str) -> dict[str, Any]:
    found: dict[str, Any] = space.job(name).get("status", {})
    return found


def error(space: Space, name: str) -> dict[str, Any]:
    found: dict[str, Any] = status(space, name)["executionInfo"]["errors"][0]
    return found


# --- the queue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixes", [4, pytest.param(50, marks=[pytest.mark.mixes, pytest.mark.timeout(1800)])], ids=["few", "all"]
)
def test_gangs_and_single_nodes_do_not_block_each_other(space: Space, mixes: int) -> None:
    chance = random.Random(mixes)  # noqa: S311 - the same mixes every time
    names = []
    for mix in range(mixes):
        jobs = []
        for index, nodes in enumerate(chance.sample([1, 1, 2, 3], k=4)):
            names.append(f"mix-{mixes}-{mix}-{index}")
            priority = chance.choice(["low", "normal", "high"])
            command = "sleep 0.$RANDOM"
            jobs.append(space.manifest(names[-1], command, nodeCount=nodes, schedulingPriority=priority))
        space.cluster.apply(*jobs)

    def ends() -> list[str]:
        items = space.cluster.list("bjob", space.namespace)
        mine = [item for item in items if "status" in item and item["metadata"]["name"] in names]
        return [item["status"].get("executionState", "") for item in mine]

    wait_until(lambda: ends().count("succeeded") == len(names), "all jobs end well", seconds=35 * mixes)


def test_priority_decides_who_is_next_and_a_gang_is_not_starved(space: Space) -> None:
    space.submit("holds", SLEEPS, nodeCount=3)
    space.wait_for_state("holds", "running")
    for name, priority, nodes in (
        ("low", "low", 1),
        ("gang", "normal", 3),
        ("later", "normal", 1),
        ("high", "high", 1),
    ):
        space.submit(name, "sleep 1", schedulingPriority=priority, nodeCount=nodes)
        space.wait_until(lambda name=name: status(space, name).get("queuePosition"), f"{name} has a place")
    space.wait_until(lambda: status(space, "gang").get("queuePosition") == 2, "the gang is second")
    assert status(space, "high")["queuePosition"] == 1
    assert "3 run holds" in status(space, "high")["waiting"]["message"]
    space.terminate("holds")
    ends = {name: space.finished(name)["status"]["executionInfo"] for name in ("high", "gang", "later", "low")}
    assert ends["gang"]["startTime"] >= ends["high"]["endTime"]
    assert ends["later"]["startTime"] >= ends["gang"]["endTime"]
    assert ends["low"]["startTime"] >= ends["gang"]["endTime"]


def test_a_job_passes_another_only_on_nodes_that_are_left_over(space: Space) -> None:
    space.submit("two", SLEEPS, nodeCount=2)
    space.wait_for_state("two", "running")
    # When `two` ends there are 3 nodes: `gang` needs 2 of them, so the idle one is left over.
    space.submit("gang", "true", nodeCount=2)
    space.wait_until(lambda: status(space, "gang").get("queuePosition") == 1, "the gang waits")
    space.submit("passes", "sleep 600")
    space.wait_for_state("passes", "running")
    assert status(space, "gang")["executionState"] == "queued"
    space.terminate("two")
    gang = space.finished("gang")["status"]
    assert gang["executionState"] == "succeeded"
    assert status(space, "passes")["executionState"] == "running"


# --- its size -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["requeue", "terminate", "waitforjobcompletion"])
def test_a_smaller_target_takes_nodes_from_jobs_as_asked(space: Space, option: str) -> None:
    space.submit("first", UNTIL_TOLD, nodeCount=2)
    space.wait_for_state("first", "running")
    space.submit("second", SLEEPS)
    space.wait_for_state("second", "running")
    for name in ("first", "second"):
        space.wait_until(lambda name=name: space.try_read_output(name, "stdouterr/stdout.txt") is not None, name)
    space.scale("nc6", manual={"targetNodeCount": 2, "nodeDeallocationOption": option})
    if option == "waitforjobcompletion":
        space.wait_until(lambda: space.counts("nc6").get("leaving") == 1, "a busy node leaves")
        assert space.cluster.get("bcluster", "nc6", space.namespace)["status"]["allocationState"] == "resizing"
        space.tell("first")
        space.wait_until(lambda: status(space, "first")["executionState"] == "succeeded", "the first job ends")
        assert status(space, "second")["executionState"] == "running"
    elif option == "requeue":
        space.wait_until(lambda: status(space, "second")["executionState"] == "queued", "the youngest job waits again")
        assert status(space, "second")["attempts"][0]["reason"] == "NodeDeallocated"
        assert status(space, "second")["retries"] == 0
        assert status(space, "first")["executionState"] == "running"
    else:
        assert space.finished("second")["status"]["executionState"] == "failed"
        assert error(space, "second")["code"] == "JobTerminated"
        space.tell("first")
        assert space.finished("first")["status"]["executionState"] == "succeeded"
    space.wait_until(lambda: len(owned(space)) == 2, "a node is given back")
    space.wait_until(lambda: space.counts("nc6")["total"] == 2, "two nodes are left")


def test_an_autoscaled_cluster_grows_and_shrinks_with_its_jobs(space: Space) -> None:
    space.scale("nc6", autoScale={"minimumNodeCount": 0, "maximumNodeCount": 2})
    space.wait_until(lambda: not owned(space), "nobody needs nodes")
    space.submit("one", "sleep 5")
    space.submit("two", "sleep 5", nodeCount=2)
    space.wait_until(lambda: len(owned(space)) == 2, "two nodes at most")
    for name in ("one", "two"):
        assert space.finished(name)["status"]["executionState"] == "succeeded"
    space.wait_until(lambda: not owned(space), "all nodes are given back")
    assert space.counts("nc6")["total"] == 0


def test_nodes_that_nobody_needs_stay_for_the_idle_timeout(space: Space) -> None:
    space.scale("nc6", autoScale={"minimumNodeCount": 0, "maximumNodeCount": 3, "idleTimeoutSeconds": 8})
    space.wait_until(
        lambda: "idleSince" in space.cluster.get("bcluster", "nc6", space.namespace)["status"], "the nodes are idle"
    )
    assert len(owned(space)) == 3
    space.wait_until(lambda: not owned(space), "the timeout", seconds=20)


def test_a_deleted_cluster_lets_running_jobs_end_and_keeps_finished_ones(space: Space) -> None:
    space.run("finished", "true")
    space.submit("running", UNTIL_TOLD, nodeCount=2)
    space.wait_for_state("running", "running")
    space.wait_until(lambda: len(space.pods("running")) == 2, "its pods")
    space.submit("queued", "true", nodeCount=3)
    space.wait_for_state("queued", "queued")
    space.cluster.kubectl("delete", "bcluster", "nc6", "-n", space.namespace, "--timeout=30s")
    space.wait_until(
        lambda: (status(space, "queued").get("waiting") or {}).get("reason") == "ClusterNotFound", "the job is told"
    )
    assert len(owned(space)) == 2, "nodes with a job stay until it ends"
    space.tell("running")
    assert space.finished("running")["status"]["executionState"] == "succeeded"
    space.wait_until(lambda: not owned(space), "all nodes are given back")
    assert status(space, "finished")["executionState"] == "succeeded"
    space.make_cluster("nc6", {"manual": {"targetNodeCount": 3}})
    assert space.finished("queued")["status"]["executionState"] == "succeeded"


def test_a_claim_marks_nodes_and_is_taken_back_cleanly(space: Space) -> None:
    def marks() -> list[str]:
        nodes = space.cluster.list("nodes")
        return [
            mark
            for node in nodes
            for mark in (
                *(key for key in node["metadata"]["labels"] if key.startswith(OWNER)),
                *(key for key in node["metadata"].get("annotations", {}) if "scale-down-disabled" in key),
                *(taint["key"] for taint in node["spec"].get("taints", []) if taint["key"] == OWNER),
            )
        ]

    assert len(marks()) == 3 * 4
    space.scale("nc6", manual={"targetNodeCount": 0})
    space.wait_until(lambda: not marks(), "nothing is left on the nodes")


# --- nodes that are missing ---------------------------------------------------------------------------------------


@contextmanager
def provided_node(cluster: Cluster, name: str, instance_type: str) -> Iterator[None]:
    """What an autoscaler's new node looks like to the API: ready, with a GPU."""
    labels = {"node.kubernetes.io/instance-type": instance_type, "kubernetes.io/hostname": name}
    cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    resources = {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "1"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "capacity": resources, "allocatable": resources}
    try:
        cluster.kubectl(
            "patch", "node", name, "--subresource=status", "--type", "merge", "-p", json.dumps({"status": ready})
        )
        yield
    finally:
        cluster.kubectl("delete", "node", name)


def test_placeholders_ask_for_missing_nodes_until_they_come(space: Space) -> None:
    def placeholders() -> list[dict[str, Any]]:
        return space.cluster.list("pods", space.namespace, "batchai.dev/placeholder=grows")

    space.make_cluster("grows", {"manual": {"targetNodeCount": 2}}, vmSize="STANDARD_NC24RS_V3")
    space.wait_until(lambda: len(placeholders()) == 2, "a placeholder for each missing node")
    pod = placeholders()[0]
    assert pod["spec"]["priority"] == -10
    assert pod["status"]["phase"] == "Pending"
    state = space.cluster.get("bcluster", "grows", space.namespace)["status"]
    assert (state["allocationState"], state["currentNodeCount"]) == ("resizing", 0)
    with provided_node(space.cluster, f"node-{space.namespace}", "Standard_NC24rs_v3"):
        space.wait_until(lambda: space.counts("grows")["total"] == 1, "the node is claimed")
        space.wait_until(lambda: len(placeholders()) == 1, "its placeholder goes")
    space.wait_until(lambda: len(placeholders()) == 2, "the node went: it is asked for again")
    space.scale("grows", manual={"targetNodeCount": 0})
    space.wait_until(lambda: not placeholders(), "nothing is missing")


@contextmanager
def capacity_buffers(cluster: Cluster) -> Iterator[None]:
    """The resource as autoscalers bring it, as far as its shape matters here."""
    reference = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}}
    strategy = {"type": "string", "default": "buffer.x-k8s.io/active-capacity"}
    fields = {
        "podTemplateRef": reference,
        "provisioningStrategy": strategy,
        "replicas": {"type": "integer", "format": "int32", "minimum": 0},
    }
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {"type": "object", "properties": fields},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    group, plural = "autoscaling.x-k8s.io", "capacitybuffers"
    kind = {"kind": "CapacityBuffer", "plural": plural, "singular": "capacitybuffer"}
    cluster.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": kind, "versions": [version]},
        }
    )
    try:
        cluster.kubectl("wait", "crd", f"{plural}.{group}", "--for=condition=Established", "--timeout=30s")
        yield
    finally:
        cluster.kubectl("delete", "crd", f"{plural}.{group}")


def test_a_capacity_buffer_asks_for_missing_nodes_where_there_are_such(space: Space) -> None:
    def placeholders() -> list[dict[str, Any]]:
        return space.cluster.list("pods", space.namespace, "batchai.dev/placeholder=asks")

    def replicas() -> list[int]:
        return [item["spec"]["replicas"] for item in space.cluster.list("capacitybuffers", space.namespace)]

    def errors(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = space.cluster.get("bcluster", name, space.namespace)["status"].get("errors", [])
        return found

    scale = {"manual": {"targetNodeCount": 2}}
    space.make_cluster("asks", scale, vmSize="STANDARD_NC24RS_V3", nodeProvisioning="capacityBuffer")
    space.wait_until(lambda: len(placeholders()) == 2, "placeholders where there is no such resource")
    with capacity_buffers(space.cluster):
        space.scale("asks", manual={"targetNodeCount": 3})
        space.wait_until(lambda: replicas() == [3], "a buffer of three nodes")
        space.wait_until(lambda: not placeholders(), "it takes the placeholders' place")
        (found,) = space.cluster.list("capacitybuffers", space.namespace)
        name = found["spec"]["podTemplateRef"]["name"]
        template = space.cluster.get("podtemplate", name, space.namespace)["template"]
        assert template["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
        condition = {"type": "ReadyForProvisioning", "status": "False", "reason": "Quota", "message": "too many GPUs"}
        space.patch_status("capacitybuffer", found["metadata"]["name"], {"conditions": [condition]})
        space.expect_no_more_nodes("asks")
        space.wait_until(lambda: "too many GPUs" in json.dumps(errors("asks")), "the autoscaler's own words")
        with provided_node(space.cluster, f"node-{space.namespace}", "Standard_NC24rs_v3"):
            space.wait_until(lambda: space.counts("asks")["total"] == 1, "the node is claimed")
            space.wait_until(lambda: replicas() == [2], "two are missing")
            space.scale("asks", manual={"targetNodeCount": 0})
            space.wait_until(lambda: replicas() == [0], "nothing is missing")
    assert not placeholders()


# --- nodes that turn bad ------------------------------------------------------------------------------------------


def test_a_gpu_that_turns_unhealthy_sends_the_job_elsewhere_for_good(space: Space) -> None:
    command = '[ -z "$AZ_BATCHAI_PREV_OUTPUT_MODEL" ] || exit 0; sleep 600'
    space.submit("sick", command)
    space.wait_until(lambda: any(pod["status"]["phase"] == "Running" for pod in space.pods("sick")), "it runs")
    (node,) = status(space, "sick")["nodes"]
    (plugin,) = [
        pod["metadata"]["name"]
        for pod in space.cluster.list("pods", "azure", "app=node-plugin")
        if pod["spec"]["nodeName"] == node
    ]
    space.cluster.kubectl("exec", "-n", "azure", plugin, "--", "touch", "/run/gpu/unhealthy")
    try:
        space.wait_until(lambda: status(space, "sick")["attempt"] == 2, "another attempt")
        errors = space.cluster.get("bcluster", "nc6", space.namespace)["status"]["errors"]
        assert errors[0]["message"] == f"Node {node} has 1 GPUs that its device plugin calls unhealthy"
        assert errors[0]["message"] in space.cluster.kubectl("get", "bcluster", "nc6", "-n", space.namespace)
        assert space.finished("sick")["status"]["executionState"] == "succeeded"
    finally:
        space.cluster.kubectl("exec", "-n", "azure", plugin, "--", "rm", "-f", "/run/gpu/unhealthy")
    first, second = status(space, "sick")["attempts"]
    assert (first["reason"], first["faultyNodes"]) == ("GpuUnhealthy", [node])
    assert node not in second["nodes"]
    space.wait_until(lambda: space.counts("nc6").get("idle") == 3, "the node is well again")


def test_a_preemption_notice_moves_the_job_and_gives_the_node_back(space: Space) -> None:
    command = (
        "[ -z \"$AZ_BATCHAI_PREV_OUTPUT_MODEL\" ] || exit 0; trap 'echo saved; exit 0' TERM; echo up; sleep 600 & wait"
    )
    space.submit("spot", command)
    space.wait_until(lambda: space.try_read_output("spot", "stdouterr/stdout.txt") == b"up\n", "it runs")
    (node,) = status(space, "spot")["nodes"]

    def announce(value: str) -> None:
        notice = {"type": "PreemptScheduled", "status": value, "reason": "SpotEvictionIncoming", "message": "soon"}
        body = json.dumps({"status": {"conditions": [notice]}})
        space.cluster.kubectl("patch", "node", node, "--subresource=status", "--type", "strategic", "-p", body)

    announce("True")
    try:
        space.wait_until(lambda: status(space, "spot")["attempt"] == 2, "another attempt")
        assert space.finished("spot")["status"]["executionState"] == "succeeded"
        space.wait_until(lambda: node not in owned(space), "the node is given back")
    finally:
        announce("False")
    first, second = status(space, "spot")["attempts"]
    assert first["reason"] == "NodePreempted"
    assert node not in second["nodes"]
    assert status(space, "spot")["retries"] == 0


def test_a_cordoned_node_gets_no_job_and_is_named(space: Space) -> None:
    node = min(owned(space))
    space.cluster.kubectl("cordon", node)
    try:
        space.wait_until(lambda: space.counts("nc6").get("unusable") == 1, "the node is unusable")
        errors = space.cluster.get("bcluster", "nc6", space.namespace)["status"]["errors"]
        assert errors[0]["message"] == f"Node {node} is cordoned"
        space.submit("wide", "true", nodeCount=3)
        space.wait_until(lambda: "1 unusable" in (status(space, "wide").get("waiting") or {}).get("message", ""), "why")
    finally:
        space.cluster.kubectl("uncordon", node)
    assert space.finished("wide")["status"]["executionState"] == "succeeded"


# --- nodeSetup ----------------------------------------------------------------------------------------------------


def test_setup_runs_before_the_first_job_and_mounts_are_seen_by_every_job(space: Space) -> None:
    volumes = space.mount_volumes()
    volumes["azureFileShares"][0]["relativeMountPath"] = "external"
    setup = {
        "mountVolumes": volumes,
        "setupTask": {
            "commandLine": 'echo "set up $AZ_BATCH_NODE_ID $OWN"; date >>$AZ_BATCHAI_MOUNT_ROOT/external/setups',
            "environmentVariables": [{"name": "OWN", "value": "it's"}],
            "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/external",
        },
    }
    space.scale("nc6", manual={"targetNodeCount": 0})
    space.wait_until(lambda: not owned(space), "the nodes are free")
    space.make_cluster("ready", {"manual": {"targetNodeCount": 1}}, nodeSetup=setup)
    space.submit(
        "sees",
        "cat $AZ_BATCHAI_MOUNT_ROOT/external/setups | wc -l; ls $AZ_BATCHAI_MOUNT_ROOT",
        cluster="ready",
        mountVolumes=None,
        outputDirectories=None,
        stdOutErrPathPrefix="$AZ_BATCHAI_MOUNT_ROOT/external",
    )
    job = space.finished("sees")
    assert job["status"]["executionState"] == "succeeded", json.dumps(job["status"])
    assert space.read_output("sees", "stdouterr/stdout.txt").split() == [b"1", b"data", b"external"]
    found = space.cluster.get("bcluster", "ready", space.namespace)
    system = space.cluster.get("namespace", "kube-system")["metadata"]["uid"]
    suffix = f"{system}/{space.namespace}/workspaces/work/clusters/ready/{found['metadata']['uid']}"
    (node,) = job["status"]["attempts"][0]["nodes"]
    assert space.read_share(f"{suffix}/stdout-{node}.txt") == f"set up {node} it's\n".encode()
    assert found["status"]["nodeSetup"]["setupTask"]["stdOutErrPathSuffix"] == suffix
    assert not space.cluster.list("pods", space.namespace, "batchai.dev/setup=ready")
    space.run("again", "true", cluster="ready")
    assert space.read_share("setups").count(b"\n") == 1


def test_a_setup_that_fails_makes_the_node_unusable_and_says_why(space: Space) -> None:
    task = {"commandLine": "echo no driver >&2; exit 4", "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT"}
    space.scale("nc6", manual={"targetNodeCount": 0})
    space.wait_until(lambda: not owned(space), "the nodes are free")
    space.make_cluster("broken", {"manual": {"targetNodeCount": 1}}, nodeSetup={"setupTask": task})
    space.wait_until(lambda: space.counts("broken").get("unusable") == 1, "the node is unusable")
    (problem,) = space.cluster.get("bcluster", "broken", space.namespace)["status"]["errors"]
    assert problem["code"] == "SetupTaskFailed"
    assert problem["message"].endswith("failed its setup task with exit code 4")
    assert {"name": "Info", "value": "no driver"} in problem["details"]
