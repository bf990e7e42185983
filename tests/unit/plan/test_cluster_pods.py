"""Pods that are a Cluster's own: those that ask for nodes, and those that make them ready."""

from dataclasses import replace
from typing import Any

import pytest
from kubernetes.client import V1Pod, V1PodTemplate

from batchai.api.cluster import Cluster
from batchai.errors import SpecError
from batchai.plan.mounts import Surroundings, cluster_mounts
from batchai.plan.placeholders import buffer, buffer_template, instance_types, placeholder
from batchai.plan.setup import SetupImages, required_setup, setup_fingerprint, setup_pod
from batchai.schedule.nodes import NodeView

NODE = NodeView("node-1", ("ns", "nc6"), ready=True, schedulable=True, gpus=2, gpus_expected=True, boot="uid/1")
TASK = {
    "commandLine": "echo $OWN",
    "stdOutErrPathPrefix": "$AZ_BATCHAI_MOUNT_ROOT/logs/",
    "environmentVariables": [{"name": "OWN", "value": "it's"}],
    "secrets": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
}
SHARE = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "logs"}


def cluster(**spec: Any) -> Cluster:
    metadata = {"name": "nc6", "namespace": "ns", "uid": "0b5f1f0e-0000"}
    return Cluster.model_validate({"metadata": metadata, "spec": {"workspace": "w", "vmSize": "STANDARD_NC6", **spec}})


def set_up(**setup: Any) -> dict[str, Any]:
    subject, images = cluster(nodeSetup=setup), SetupImages("launcher:1", "base:1")
    mounts = cluster_mounts(subject.spec, Surroundings())
    pod = setup_pod(subject, NODE, "f00", suffix="sub/c", images=images, mounts=mounts)
    V1Pod.model_validate(pod)
    return pod


def variables(pod: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("size", "types"),
    [
        ("STANDARD_NC6", ["STANDARD_NC6", "Standard_NC6"]),
        ("STANDARD_NC24RS_V3", ["STANDARD_NC24RS_V3", "Standard_NC24rs_v3"]),
        ("standard_nc24ads_a100_v4", ["standard_nc24ads_a100_v4", "Standard_NC24ads_A100_v4"]),
        ("Standard_D2s_v5", ["Standard_D2s_v5"]),
        ("m5.large", ["m5.large"]),
    ],
)
def test_instance_types_are_written_as_given_and_as_azure_does(size: str, types: list[str]) -> None:
    assert instance_types(size) == types


def test_a_placeholder_asks_for_one_whole_node_of_the_kind() -> None:
    pod = placeholder(cluster(nodeSelector={"pool": "a"}), 3, "pause:1")
    V1Pod.model_validate(pod)
    affinity = pod["spec"]["affinity"]
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    wanted = {item["key"]: item["values"] for item in term["matchExpressions"] if item["operator"] == "In"}
    assert wanted == {
        "node.kubernetes.io/instance-type": ["STANDARD_NC6", "Standard_NC6"],
        "pool": ["a"],
    }
    others = {item["key"]: item["values"] for item in term["matchExpressions"] if item["operator"] == "NotIn"}
    assert others["karpenter.sh/capacity-type"] == ["spot"]
    assert "podAntiAffinity" in affinity
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    # One on a node of another Cluster would hold what its jobs need.
    assert not any(item.get("key") == "batchai.dev/cluster" for item in pod["spec"]["tolerations"])
    assert placeholder(cluster(vmSize="Standard_D2s_v5"), 0, "p")["spec"]["containers"][0]["resources"]["limits"] == {}


def test_a_placeholder_of_low_priority_asks_for_a_spot_node_of_any_cloud() -> None:
    spec = placeholder(cluster(vmPriority="lowpriority"), 0, "pause:1")["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    spot = {(item["key"], *item["values"]) for term in terms for item in term["matchExpressions"][1:]}
    assert ("kubernetes.azure.com/scalesetpriority", "spot") in spot
    assert ("karpenter.sh/capacity-type", "spot") in spot
    assert {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Exists"} in spec["tolerations"]


def test_a_capacity_buffer_stands_for_placeholders() -> None:
    subject = cluster()
    template, asked = buffer_template(subject, "pause:1"), buffer(subject, 3)
    V1PodTemplate.model_validate(template)
    assert template["template"]["spec"] == placeholder(subject, 0, "pause:1")["spec"]
    assert template["template"]["metadata"]["labels"]["batchai.dev/placeholder"] == "nc6", (
        "one on a node, by its affinity"
    )
    assert asked["spec"] == {"podTemplateRef": {"name": template["metadata"]["name"]}, "replicas": 3}
    assert asked["metadata"]["ownerReferences"][0]["uid"] == subject.metadata.uid


def test_the_clusters_scheduler_is_that_of_all_its_pods() -> None:
    setup = {"mountVolumes": {"azureFileShares": [SHARE]}}
    subject = cluster(schedulerName="other", nodeSetup=setup)
    images = SetupImages("launcher:1", "base:1")
    assert placeholder(subject, 0, "pause:1")["spec"]["schedulerName"] == "other"
    assert setup_pod(subject, NODE, "f00", suffix="s", images=images, mounts=())["spec"]["schedulerName"] == "other"
    assert "schedulerName" not in placeholder(cluster(), 0, "pause:1")["spec"]


def test_the_setup_is_another_one_after_a_reboot_and_for_another_node() -> None:
    required = required_setup(cluster(nodeSetup={"setupTask": TASK}))
    other = required_setup(cluster(nodeSetup={"setupTask": {**TASK, "commandLine": "true"}}))
    assert required is not None
    assert other is not None
    first = setup_fingerprint(required, NODE)
    assert first == setup_fingerprint(required, replace(NODE, prepared=first))
    assert first != setup_fingerprint(required, replace(NODE, boot="uid/2"))
    assert first != setup_fingerprint(other, NODE)
    assert required_setup(cluster()) is None
    assert required_setup(cluster(nodeSetup={})) is None


def test_the_setup_task_has_its_mounts_variables_and_logs() -> None:
    pod = set_up(setupTask=TASK, mountVolumes={"azureFileShares": [SHARE]})
    container = pod["spec"]["containers"][0]
    env = variables(pod)
    assert env["AZ_BATCHAI_STDOUTERR_DIR"] == env["AZ_BATCHAI_MOUNT_ROOT"] + "/logs/sub/c"
    assert env["BATCHAI_LAUNCH_PROCESS_0_COMMAND"] == "echo $$OWN"
    assert env["BATCHAI_LAUNCH_PROCESS_0_STDOUT"] == "stdout-node-1.txt"
    assert env["OWN"] == "it's"
    assert {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}} in container["env"]
    paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert paths["azurefile-cluster0"] == env["AZ_BATCHAI_MOUNT_ROOT"] + "/logs"
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "2"}}


def test_mounts_alone_are_tried_too() -> None:
    assert variables(set_up(mountVolumes={"azureFileShares": [SHARE]}))["BATCHAI_LAUNCH_PROCESS_0_COMMAND"] == ":"


def test_what_cannot_be_mounted_is_named() -> None:
    volumes = {"unmanagedFileSystems": [{"mountCommand": "mount -t x a:/b", "relativeMountPath": "x"}]}
    with pytest.raises(SpecError, match=r"spec\.nodeSetup\.mountVolumes\.unmanagedFileSystems"):
        set_up(setupTask=TASK, mountVolumes=volumes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stdOutErrPathPrefix": "logs"}, "setupTask.stdOutErrPathPrefix: is no absolute path"),
        ({"secrets": [{"name": "TOKEN"}]}, r"setupTask.secrets\[0\]: names no Secret"),
    ],
)
def test_a_setup_task_that_could_not_do_its_work_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        set_up(setupTask={**TASK, **change})
