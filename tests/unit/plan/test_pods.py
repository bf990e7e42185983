from typing import Any

import pytest
from kubernetes.client import V1Pod
from tests.unit.builders import SUBSCRIPTION, UID, job

from batchai.api.cluster import ClusterSpec
from batchai.errors import SpecError
from batchai.plan.directories import JobIdentity
from batchai.plan.pods import Attempt, Images, check, job_pods, memory_quantity
from batchai.plan.secrets import needed

IDENTITY = JobIdentity(SUBSCRIPTION, "ns", "w", "exp", "train", UID)
KEY_VAULT = {"sourceVault": {"id": "v"}, "secretUrl": "https://v/s"}
IMAGES = Images("launcher:1", {"cntkSettings": "cntk:1", "*": "base:1"})
CLUSTER = ClusterSpec.model_validate(
    {"workspace": "w", "vmSize": "Standard_NC6", "tolerations": [{"key": "sku", "value": "gpu"}]}
)


def plan(**spec: Any) -> dict[str, Any]:
    attempt = Attempt(2, ("node-1",), gpus=4)
    (pod,) = job_pods(job(**spec), IDENTITY, attempt, cluster=CLUSTER, images=IMAGES)
    V1Pod.model_validate(pod)
    return pod


def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}


def test_identity_of_the_pod() -> None:
    pod = plan()
    assert pod["metadata"]["name"] == "train-2-0"
    assert pod["metadata"]["finalizers"] == ["batchai.dev/result"]
    assert pod["metadata"]["ownerReferences"][0]["uid"] == UID
    assert pod["metadata"]["annotations"]["batchai.dev/node"] == "node-1"


def test_takes_the_whole_node_and_no_other() -> None:
    spec = plan()["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]
    assert spec["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "4"}}
    assert {"key": "sku", "value": "gpu"}.items() <= spec["tolerations"][0].items()


def test_dollars_reach_the_launcher_as_they_are() -> None:
    env = environment(
        plan(
            customToolkitSettings={"commandLine": "echo $(date) $$ $HOME"},
            environmentVariables=[{"name": "PRICE", "value": "$(HOME) $5"}],
        )
    )
    assert env["BATCHAI_LAUNCH_PROCESS_0_COMMAND"] == "echo $$(date) $$$$ $$HOME"
    assert env["PRICE"] == "$$(HOME) $$5"


def test_environment_of_the_reference() -> None:
    env = environment(
        plan(
            outputDirectories=[{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
            inputDirectories=[{"id": "CODE", "path": "$AZ_BATCHAI_JOB_MOUNT_ROOT/$SUB"}],
            environmentVariables=[{"name": "SUB", "value": "scripts"}],
        )
    )
    temp = "/mnt/batch/tasks/shared/LS_root/jobs/w/exp/train"
    assert env["AZ_BATCHAI_JOB_TEMP"] == temp
    assert env["AZ_BATCHAI_JOB_MOUNT_ROOT"] == f"{temp}/mounts"
    assert env["AZ_BATCHAI_INPUT_CODE"] == f"{temp}/mounts/scripts"
    assert env["AZ_BATCHAI_OUTPUT_MODEL"] == f"{temp}/mounts/logs/{IDENTITY.segment}/outputs"
    assert env["AZ_BATCHAI_STDOUTERR_DIR"] == f"{temp}/mounts/logs/{IDENTITY.segment}/stdouterr"
    assert env["AZ_BATCHAI_NUM_GPUS"] == "4"
    assert set(env["BATCHAI_LAUNCH_DIRECTORIES"].split("\n")) == {
        f"{temp}/wd",
        f"{temp}/shared",
        env["AZ_BATCHAI_STDOUTERR_DIR"],
        env["AZ_BATCHAI_OUTPUT_MODEL"],
    }


def test_cntk_runs_in_its_default_image() -> None:
    pod = plan(cntkSettings={"pythonScriptFilePath": "$X/my script.py", "commandLineArgs": "$A 'b c'"})
    assert pod["spec"]["containers"][0]["image"] == "cntk:1"
    env = environment(pod)
    assert env["BATCHAI_LAUNCH_PROCESS_0_COMMAND"] == "python \"$$X/my script.py\" $$A 'b c'"
    assert env["KERAS_BACKEND"] == "cntk"


def test_secrets_are_named_and_never_read() -> None:
    reference = {"name": "tokens", "key": "hub"}
    registry = {"image": "r.example/x:1", "credentials": {"username": "u", "secretRef": {"name": "pull"}}}
    spec = {
        "secrets": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": reference}}],
        "containerSettings": {"imageSourceRegistry": registry},
    }
    pod = plan(**spec)
    assert {"name": "TOKEN", "valueFrom": {"secretKeyRef": reference}} in pod["spec"]["containers"][0]["env"]
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert set(needed(job(**spec).spec)) == {"batchai-storage-acc", "tokens", "pull"}


def test_own_image_and_shared_memory() -> None:
    pod = plan(containerSettings={"imageSourceRegistry": {"image": "me/train:1"}, "shmSize": "8gb"})
    assert pod["spec"]["containers"][0]["image"] == "me/train:1"
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}} in pod["spec"]["volumes"]


@pytest.mark.parametrize(
    ("size", "quantity"),
    [("16gb", "16Gi"), ("512M", "512Mi"), ("64k", "64Ki"), ("1024", "1024"), ("7b", "7")],
)
def test_docker_sizes(size: str, quantity: str) -> None:
    assert memory_quantity(size) == quantity


def test_wall_clock_limit_is_the_pods_deadline() -> None:
    assert plan()["spec"]["activeDeadlineSeconds"] == 7 * 24 * 3600
    assert plan(constraints={"maxWallClockTime": "PT2H"})["spec"]["activeDeadlineSeconds"] == 7200


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"nodeCount": 2}, "nodeCount"),
        ({"secrets": [{"name": "X", "valueSecretReference": KEY_VAULT}]}, r"secrets\[0\]"),
        ({"pyTorchSettings": {"pythonScriptFilePath": "x.py", "processCount": 2}}, "communicationBackend"),
    ],
)
def test_what_this_version_does_not_run_is_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        check(job(**spec), IDENTITY)
