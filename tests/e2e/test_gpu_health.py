"""The node health agent on a real node, with a library of our own in the place of NVIDIA's."""

import base64
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ROOT
from tests.e2e.jobs import IMAGE, OPERATOR, Cluster, Space, Storage, wait_until
from tests.gpu import stand_in

AGENT = "batchai-agent"
ACCOUNT = f"system:serviceaccount:{OPERATOR}:{AGENT}"
CONDITION = "batchai.dev/GpuHealthy"
TAINT = "batchai.dev/gpu-unhealthy"
GPU = "GPU 0 (GPU-00000000)"
GPU_LABEL = "kubernetes.azure.com/accelerator"
FOREIGN = {"key": "e2e.example/kept", "value": "yes", "effect": "PreferNoSchedule"}
OURS = {"key": TAINT, "effect": "NoSchedule"}
GONE = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "gone"}
REDIRECTED = {"type": "InternalIP", "address": "192.0.2.1"}
ENDPOINTS = {"kubeletEndpoint": {"Port": 4194}}
ATTACHED = {"name": "e2e.example/volume", "devicePath": ""}
WITH_LIBRARY = {
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "agent",
                        "env": [
                            {"name": "LD_LIBRARY_PATH", "value": "/opt/nvml"},
                            {"name": "NVML_STAND_IN", "value": "/run/gpus/state"},
                            {"name": "BATCHAI_PROBE_SECONDS", "value": "0.25"},
                            {"name": "BATCHAI_PROBE_DEADLINE_SECONDS", "value": "3"},
                        ],
                        "volumeMounts": [
                            {"name": "nvml", "mountPath": "/opt/nvml"},
                            {"name": "gpus", "mountPath": "/run/gpus"},
                        ],
                    }
                ],
                "volumes": [{"name": "nvml", "configMap": {"name": "nvml"}}, {"name": "gpus", "emptyDir": {}}],
            }
        }
    }
}


@dataclass
class Machine:
    """A worker of the cluster as a machine with GPUs."""

    cluster: Cluster
    name: str

    @property
    def node(self) -> dict[str, Any]:
        return self.cluster.get("node", self.name)

    def condition(self) -> dict[str, Any]:
        return next((item for item in self.node["status"]["conditions"] if item["type"] == CONDITION), {})

    def says(self, reason: str, seconds: float = 60) -> dict[str, Any]:
        """The condition, once it has this reason."""
        wait_until(lambda: self.condition().get("reason") == reason, f"{self.name} says {reason}", seconds)
        return self.condition()

    def taints(self) -> list[dict[str, str]]:
        taints: list[dict[str, str]] = self.node["spec"].get("taints", [])
        return taints

    def tainted(self) -> bool:
        return OURS in self.taints()

    def forget(self) -> None:
        """What docs/node-health.md says to remove a verdict with."""
        condition = {"type": CONDITION, "$patch": "delete"}
        patch = json.dumps({"status": {"conditions": [condition]}})
        self.cluster.kubectl("patch", "node", self.name, "--subresource=status", "--type=strategic", "-p", patch)

    def pod(self) -> dict[str, Any]:
        pods = self.cluster.list("pods", OPERATOR, f"app.kubernetes.io/name={AGENT}")
        return next(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])

    def has(self, *lines: str) -> None:
        """The state of its GPUs from now on (tests/gpu/nvml.c)."""
        script = "cat >/run/gpus/new && mv /run/gpus/new /run/gpus/state"
        name = self.pod()["metadata"]["name"]
        self.cluster.kubectl("exec", "-i", "-n", OPERATOR, name, "--", "sh", "-c", script, data="\n".join(lines) + "\n")

    def advertises(self, count: int) -> None:
        """As many GPUs as its device plugin tells the kubelet."""
        plugins = self.cluster.list("pods", "azure", "app=node-plugin")
        name = next(pod["metadata"]["name"] for pod in plugins if pod["spec"]["nodeName"] == self.name)
        self.cluster.kubectl("exec", "-n", "azure", name, "--", "sh", "-c", f"echo {count} >/run/gpu/count")
        capacity = str(count)
        wait_until(lambda: self.node["status"]["capacity"].get("nvidia.com/gpu") == capacity, f"{count} GPUs")

    def kill_agent(self) -> None:
        """SIGKILL to the agent's first process; returns when it runs again."""
        before = self.pod()["status"]["containerStatuses"][0]
        place = f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{before['containerID'].split('//')[1]}/init.pid"
        subprocess.run(["docker", "exec", self.name, "sh", "-c", f"kill -9 $(cat {place})"], check=True)

        def again() -> bool:
            now = self.pod()["status"]["containerStatuses"][0]
            return bool(now["restartCount"] > before["restartCount"] and now["ready"])

        wait_until(again, "the agent runs again")


@pytest.fixture(scope="module")
def bare(cluster: Cluster) -> Iterator[Machine]:
    """A worker that has the agent as it is installed; its GPUs are advertised, but there is no driver."""
    names = cluster.kubectl("get", "nodes", "-l", "!node-role.kubernetes.io/control-plane", "-o", "name").split()
    machine = Machine(cluster, names[-1].removeprefix("node/"))
    cluster.kubectl("label", "node", machine.name, f"{GPU_LABEL}=nvidia")
    try:
        cluster.kubectl("apply", "-k", str(ROOT / "manifests" / "agent"))
        wait_for_agent(cluster)
        yield machine
    finally:
        cluster.kubectl("delete", "-k", str(ROOT / "manifests" / "agent"), "--wait", "--ignore-not-found")
        cluster.kubectl("label", "node", machine.name, f"{GPU_LABEL}-")
        machine.forget()
        cluster.kubectl("taint", "node", machine.name, f"{TAINT}-", check=False)


@pytest.fixture(scope="module")
def machine(bare: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The same with a driver's library, and another owner's taint."""
    cluster = bare.cluster
    library: Path = stand_in.build(tmp_path_factory.mktemp("nvml"))
    metadata = {"name": "nvml", "namespace": OPERATOR}
    data = {stand_in.NAME: base64.b64encode(library.read_bytes()).decode()}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": data})
    cluster.kubectl("taint", "node", bare.name, f"{FOREIGN['key']}={FOREIGN['value']}:{FOREIGN['effect']}")
    try:
        cluster.kubectl("patch", "daemonset", AGENT, "-n", OPERATOR, "-p", json.dumps(WITH_LIBRARY))
        wait_for_agent(cluster)
        yield bare
    finally:
        cluster.kubectl("taint", "node", bare.name, f"{FOREIGN['key']}-")
        cluster.kubectl("delete", "configmap", "nvml", "-n", OPERATOR)


@pytest.fixture
def well(machine: Machine) -> Machine:
    """A machine whose GPU is well, and whose agent has said so."""
    machine.has()
    wait_until(lambda: machine.condition().get("reason") in {"Healthy", "XidError"}, "a verdict")
    machine.says("Healthy")
    return machine


def wait_for_agent(cluster: Cluster) -> None:
    cluster.kubectl("rollout", "status", f"daemonset/{AGENT}", "-n", OPERATOR, "--timeout=120s")


def test_gpus_without_a_driver_are_said_to_be_unseen(bare: Machine) -> None:
    condition = bare.says("NoAccess")
    assert condition["status"] == "Unknown"
    assert condition["message"].startswith("the agent cannot see the GPUs that the node advertises")
    assert not bare.tainted()


def test_a_cpu_node_says_so(bare: Machine) -> None:
    bare.advertises(0)
    try:
        assert bare.says("NoGpu")["status"] == "Unknown"
        assert not bare.tainted()
        log = bare.cluster.kubectl("logs", "-n", OPERATOR, bare.pod()["metadata"]["name"])
        assert "GpuHealthy is Unknown: NoGpu" in log
    finally:
        bare.advertises(1)


@pytest.mark.parametrize(
    ("allowed", "verb", "resource"),
    [
        (True, "get", "nodes"),
        (True, "patch", "nodes/status"),
        (True, "list", "pods"),
        (False, "list", "nodes"),
        (False, "delete", "nodes"),
        (False, "watch", "pods"),
        (False, "delete", "pods"),
        (False, "get", "secrets"),
        (False, "get", "jobs.batchai.dev"),
    ],
)
def test_rights(bare: Machine, verb: str, resource: str, *, allowed: bool) -> None:
    answer = bare.cluster.kubectl("auth", "can-i", verb, resource, "--as", ACCOUNT, "-n", "default", check=False)
    assert answer.strip() == ("yes" if allowed else "no")


@dataclass
class AgentApi:
    """The API server, asked with a token as the agent's pod has it."""

    server: str
    token: str
    tls: ssl.SSLContext

    def refuses(self, node: str, patch: dict[str, Any], subresource: str) -> str:
        """What it says to a patch, in a dry run; nothing if it would take it."""
        request = urllib.request.Request(
            f"{self.server}/api/v1/nodes/{node}{subresource}?dryRun=All",
            data=json.dumps(patch).encode(),
            method="PATCH",
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/merge-patch+json"},
        )
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return str(json.load(error)["message"])


@pytest.fixture(scope="module")
def agent_api(bare: Machine) -> AgentApi:
    pod = bare.pod()["metadata"]["name"]
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
    token = bare.cluster.kubectl("create", "token", AGENT, "-n", OPERATOR, *bound).strip()
    config = json.loads(bare.cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    place = config["clusters"][0]["cluster"]
    authority = base64.b64decode(place["certificate-authority-data"]).decode()
    return AgentApi(place["server"], token, ssl.create_default_context(cadata=authority))


@pytest.mark.parametrize(
    ("own", "patch", "subresource", "refusal"),
    [
        (True, {"spec": {"taints": [OURS]}}, "", ""),
        (True, {"spec": {"taints": [OURS, FOREIGN]}}, "", "only its own taint"),
        (True, {"spec": {"unschedulable": True}}, "", "only its own taint"),
        (True, {"metadata": {"labels": {"a": "b"}}}, "", "only its own taint"),
        (True, {"metadata": {"labels": {"a": "b"}}}, "/status", "only its own taint"),
        (True, {"metadata": {"annotations": None}}, "", "only its own taint"),
        (True, {"metadata": {"finalizers": ["e2e.example/kept"]}}, "", "only its own taint"),
        (True, {"metadata": {"finalizers": ["e2e.example/kept"]}}, "/status", "only its own taint"),
        (True, {"metadata": {"ownerReferences": [GONE]}}, "", "only its own taint"),
        (True, {"status": {"conditions": None}}, "/status", "only its own condition"),
        (True, {"status": {"capacity": {"nvidia.com/gpu": "9"}}}, "/status", "only its own condition"),
        (True, {"status": {"addresses": [REDIRECTED]}}, "/status", "only its own condition"),
        (True, {"status": {"addresses": None}}, "/status", "only its own condition"),
        (True, {"status": {"daemonEndpoints": ENDPOINTS}}, "/status", "only its own condition"),
        (True, {"status": {"nodeInfo": {"bootID": "another"}}}, "/status", "only its own condition"),
        (True, {"status": {"volumesAttached": [ATTACHED]}}, "/status", "only its own condition"),
        (True, {"status": {"images": None}}, "/status", "only its own condition"),
        (False, {"spec": {"taints": [OURS]}}, "", "only the node that it runs on"),
    ],
)
def test_it_may_write_only_its_own_part_of_its_own_node(
    bare: Machine, agent_api: AgentApi, patch: dict[str, Any], subresource: str, refusal: str, *, own: bool
) -> None:
    nodes = [name.removeprefix("node/") for name in bare.cluster.kubectl("get", "nodes", "-o", "name").split()]
    node = bare.name if own else next(name for name in nodes if name != bare.name)
    answer = agent_api.refuses(node, patch, subresource)
    assert refusal in answer
    assert bool(refusal) == bool(answer)


def test_a_gpu_that_turns_sick_and_well_again(well: Machine) -> None:
    assert (well.condition()["status"], well.tainted()) == ("True", False)
    well.has("ecc 0 3")
    sick = well.says("EccErrors")
    assert (sick["status"], sick["message"]) == ("False", f"{GPU}: uncorrectable memory errors: 3")
    wait_until(well.tainted, "the taint is there")
    assert FOREIGN in well.taints()
    well.has()
    healthy = well.says("Healthy")
    assert (healthy["status"], healthy["message"]) == ("True", "GPUs that are well: 1")
    wait_until(lambda: not well.tainted(), "the taint is gone")
    assert FOREIGN in well.taints()


@pytest.fixture
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=3)
    yield space
    space.remove()


def test_a_job_leaves_the_node_whose_gpu_the_agent_finds_sick(well: Machine, space: Space) -> None:
    names = ("one", "two", "three")
    for name in names:
        space.submit(name, '[ -z "$AZ_BATCHAI_PREV_OUTPUT_MODEL" ] || exit 0; sleep 600')
    for name in names:
        space.wait_until(
            lambda name=name: any(pod["status"]["phase"] == "Running" for pod in space.pods(name)), f"{name} runs"
        )
    leaves = next(name for name in names if space.job(name)["status"]["nodes"] == [well.name])
    space.terminate(next(name for name in names if name != leaves))  # a node for it to go to
    well.has("ecc 0 3")
    try:
        assert space.finished(leaves)["status"]["executionState"] == "succeeded"
        (error,) = space.cluster.get("bcluster", "nc6", space.namespace)["status"]["errors"]
        assert error["code"] == "NodeUnusable"
        assert f"{GPU}: uncorrectable memory errors: 3" in error["message"]
    finally:
        well.has()
    first, second = space.job(leaves)["status"]["attempts"]
    assert (first["reason"], first["faultyNodes"]) == ("GpuUnhealthy", [well.name])
    assert second["nodes"] != [well.name]
    space.wait_until(lambda: space.counts("nc6").get("unusable") == 0, "the node is well again")


def test_the_taint_is_put_back_while_the_gpu_is_sick(well: Machine) -> None:
    well.has("failed 0 1")
    well.says("RowRemapFailed")
    wait_until(well.tainted, "the taint is there")
    well.cluster.kubectl("taint", "node", well.name, f"{TAINT}-")
    wait_until(well.tainted, "the taint is there again")


def test_nothing_is_written_while_nothing_changes(well: Machine) -> None:
    def quiet() -> bool:
        before = well.node["metadata"]["resourceVersion"]
        time.sleep(3)  # ten probes
        return bool(well.node["metadata"]["resourceVersion"] == before)

    wait_until(quiet, "a while in which the kubelet does not write either", 20)


def test_a_killed_agent_comes_back_to_the_same_verdict(well: Machine) -> None:
    well.has("xid 0 79")
    told = well.says("XidError")
    assert told["message"] == f"{GPU}: XID 79"
    well.has()
    well.kill_agent()
    time.sleep(5)  # twice as long as it takes to believe that a GPU is well
    assert well.condition() == told
    assert well.tainted()
    well.forget()
    well.says("Healthy")
    wait_until(lambda: not well.tainted(), "the taint is gone")


def test_a_driver_that_hangs(well: Machine) -> None:
    well.has("hang 0 1")
    condition = well.says("DriverHangs")
    assert condition["message"] == "the driver has not answered within 3 s"
    wait_until(well.tainted, "the taint is there")
    status = well.pod()["status"]["containerStatuses"][0]
    assert status["ready"]


def test_a_gpu_that_is_missing(well: Machine) -> None:
    well.has("count 0 0")
    assert well.says("GpuMissing")["message"] == "the driver finds 0 of 1 GPUs"


def test_processes_are_leftovers_when_no_pod_has_the_gpu(well: Machine) -> None:
    spec = {
        "nodeName": well.name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "main",
                "image": IMAGE,
                "command": ["sleep", "600"],
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
            }
        ],
    }
    metadata = {"name": "gpu-user", "namespace": "default"}
    well.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    try:
        well.cluster.kubectl("wait", "pod/gpu-user", "-n", "default", "--for=condition=Ready", "--timeout=60s")
        well.has("process 0 4242")
        time.sleep(3)  # twice as long as it takes to call it a leftover
        assert well.condition()["reason"] == "Healthy"
    finally:
        well.cluster.kubectl("delete", "pod", "gpu-user", "-n", "default")
    assert well.says("LeftoverProcesses")["message"] == f"{GPU}: somebody computes on it, but no pod has it, pid 4242"


def test_pods_are_kept_off_a_sick_node(well: Machine) -> None:
    well.has("error 0 15")
    assert well.says("GpuLost")["message"] == "GPU 0: GPU is lost"
    wait_until(well.tainted, "the taint is there")
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": well.name},
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "600"]}],
    }
    metadata = {"name": "kept-off", "namespace": "default"}
    well.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def phase() -> str:
        return str(well.cluster.get("pod", "kept-off", "default")["status"]["phase"])

    try:
        time.sleep(2)
        assert phase() == "Pending"
        well.has()
        wait_until(lambda: phase() == "Running", "the pod runs on the node that is well again")
    finally:
        well.cluster.kubectl("delete", "pod", "kept-off", "-n", "default")
