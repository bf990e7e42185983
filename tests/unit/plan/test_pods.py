import base64
from typing import Any

import pytest
from kubernetes.client import V1Pod
from tests.unit.builders import SUBSCRIPTION, UID, job

from batchai.api.cluster import ClusterSpec
from batchai.errors import SpecError
from batchai.plan import peers
from batchai.plan.directories import JobIdentity, shared_path
from batchai.plan.mounts import Surroundings
from batchai.plan.pods import Attempt, Images, all_mounts, check, default_images, job_pods, memory_quantity
from batchai.plan.secrets import needed

IDENTITY = JobIdentity(SUBSCRIPTION, "ns", "w", "exp", "train", UID)
IMAGES = Images("launcher:1", {"cntkSettings": "cntk:1", "*": "base:1"})
CLUSTER = ClusterSpec.model_validate(
    {"workspace": "w", "vmSize": "Standard_NC6", "tolerations": [{"key": "sku", "value": "gpu"}]}
)

LOGS = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "logs"}


def plan(**spec: Any) -> dict[str, Any]:
    attempt = Attempt(2, ("node-1",), gpus=4)
    subject = job(**spec)
    mounts = all_mounts(subject, IDENTITY, CLUSTER, Surroundings())
    (pod,) = job_pods(subject, IDENTITY, attempt, cluster=CLUSTER, images=IMAGES, mounts=mounts)
    V1Pod.model_validate(pod)
    return pod


def plan_two(cluster: dict[str, Any] | None = None, **spec: Any) -> list[dict[str, Any]]:
    attempt = Attempt(1, ("node-a", "node-b"), gpus=1)
    shape = CLUSTER.model_copy(update=cluster or {})
    subject = job(**spec, nodeCount=2)
    mounts = all_mounts(subject, IDENTITY, shape, Surroundings())
    pods = job_pods(subject, IDENTITY, attempt, cluster=shape, images=IMAGES, mounts=mounts)
    for pod in pods:
        V1Pod.model_validate(pod)
    return pods


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
    assert set(needed(job(**spec).spec, CLUSTER)) == {"batchai-storage-acc", "tokens", "pull"}


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
        ({"secrets": [{"name": "X"}]}, r"secrets\[0\]"),
        ({"pyTorchSettings": {"pythonScriptFilePath": "x.py", "processCount": 2}}, "communicationBackend"),
        (
            {"mountVolumes": {"azureFileShares": [{**LOGS, "readOnly": True}]}},
            "spec.stdOutErrPathPrefix: lies on .*/logs, which is mounted read-only",
        ),
        (
            {
                "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_TEMP_DIR",
                "mountVolumes": {"azureFileShares": [{**LOGS, "readOnly": True}]},
                "outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}],
            },
            r"spec.outputDirectories\[0\].pathPrefix",
        ),
        ({"stdOutErrPathPrefix": "logs"}, "spec.stdOutErrPathPrefix: is no absolute path"),
        (
            {"outputDirectories": [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNTROOT/logs"}]},
            r"spec.outputDirectories\[0\].pathPrefix: is no absolute path",
        ),
    ],
)
def test_what_this_version_does_not_run_is_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        check(job(**spec), IDENTITY)


def test_a_name_with_a_dot_is_no_host_name() -> None:
    check(job("resnet-v1.5"), IDENTITY)
    with pytest.raises(SpecError, match=r"metadata.name: has a dot"):
        check(job("resnet-v1.5", nodeCount=2), IDENTITY)


def test_variables_of_the_job_win_over_what_a_toolkit_would_have() -> None:
    settings = {"tensorFlowSettings": {"pythonScriptFilePath": "x.py"}}
    own = [{"name": "KERAS_BACKEND", "value": "theano"}, {"name": "HOME", "value": "/x"}]
    env = environment(plan(podSecurity="restricted", environmentVariables=own, **settings))
    assert (env["KERAS_BACKEND"], env["HOME"]) == ("theano", "/x")


def test_nodes_share_nothing_on_a_file_server_that_is_mounted_read_only() -> None:
    server = {"fileServer": {"id": "nfs"}, "relativeMountPath": "nfs", "mountOptions": "vers=4.1,ro"}
    subject = job(nodeCount=2, mountVolumes={"fileServers": [server]}, stdOutErrPathPrefix="/elsewhere")
    assert shared_path(subject.spec, IDENTITY, 1) is None
    writable = {**server, "mountOptions": "vers=4.1"}
    subject = job(nodeCount=2, mountVolumes={"fileServers": [writable]}, stdOutErrPathPrefix="/elsewhere")
    assert shared_path(subject.spec, IDENTITY, 1) is not None


def test_pods_of_two_nodes_find_each_other() -> None:
    master, worker = plan_two(jobPreparation={"commandLine": "x"})
    assert [pod["metadata"].get("finalizers") for pod in (master, worker)] == [["batchai.dev/result"], None]
    assert (worker["spec"]["hostname"], worker["spec"]["subdomain"]) == ("train-1-1", "batchai-train")
    assert worker["spec"]["dnsConfig"] == {"searches": ["batchai-train.ns.svc.cluster.local"]}
    env = environment(worker)
    assert env["AZ_BATCH_HOST_LIST"] == "train-1-0.batchai-train,train-1-1.batchai-train"
    assert env["BATCHAI_LAUNCH_HOSTS"] == "train-1-0.batchai-train\tnode-a\ntrain-1-1.batchai-train\tnode-b"
    assert (env["BATCHAI_LAUNCH_NODE_INDEX"], env["BATCHAI_LAUNCH_PROCESSES"]) == ("1", "0")
    assert env["BATCHAI_LAUNCH_EXECUTION_LOG"] == "execution-node-b.log"
    assert env["BATCHAI_LAUNCH_PREPARATION_STDOUT"] == "stdout-job_prep-node-b.txt"
    assert env["AZ_BATCH_NODE_ID"] == "node-b"
    assert {"name": "ssh", "mountPath": "/opt/batchai/keys", "readOnly": True} in worker["spec"]["containers"][0][
        "volumeMounts"
    ]


def test_the_shared_directory_lies_on_the_share_of_the_logs() -> None:
    env = environment(plan_two()[1])
    assert env["BATCHAI_LAUNCH_SHARED_LINK"] == env["AZ_BATCHAI_SHARED_JOB_TEMP"]
    assert env["BATCHAI_LAUNCH_SHARED_TARGET"] == (
        f"{env['AZ_BATCHAI_JOB_MOUNT_ROOT']}/logs/{IDENTITY.segment}/shared/1"
    )
    assert env["AZ_BATCHAI_SHARED_JOB_TEMP"] not in env["BATCHAI_LAUNCH_DIRECTORIES"].split("\n")


def test_without_a_share_the_nodes_share_a_claim_if_the_cluster_has_a_class_for_it() -> None:
    local = {"stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_TEMP_DIR", "mountVolumes": None}
    gloo = {"pyTorchSettings": {"pythonScriptFilePath": "x", "communicationBackend": "gloo"}}
    pod = plan_two({"shared_temp_storage_class": "nfs"}, **local, **gloo)[1]
    claim = {"name": "shared", "persistentVolumeClaim": {"claimName": "train-shared-0b5f1f0e"}}
    assert claim in pod["spec"]["volumes"]
    assert "INIT_METHOD=tcp://" in environment(pod)["BATCHAI_LAUNCH_PROCESS_0_ENVIRONMENT"]
    alone = plan_two(**local, **gloo)[1]
    assert "shared" not in [volume["name"] for volume in alone["spec"]["volumes"]]
    assert "INIT_METHOD=tcp://" in environment(alone)["BATCHAI_LAUNCH_PROCESS_0_ENVIRONMENT"]


def test_rdma_gives_every_pod_a_device_and_locked_memory() -> None:
    container = plan_two({"rdma_resource": "rdma/hca"})[1]["spec"]["containers"][0]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "1", "rdma/hca": "1"}}
    assert container["securityContext"] == {"runAsUser": 0, "capabilities": {"add": ["IPC_LOCK"]}}


def test_the_clusters_scheduler_places_the_pods() -> None:
    assert [pod["spec"]["schedulerName"] for pod in plan_two({"scheduler_name": "other"})] == ["other"] * 2
    assert "schedulerName" not in plan()["spec"]


def test_a_restricted_pod_is_not_root() -> None:
    pod = plan_two(podSecurity="restricted")[0]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert environment(pod)["BATCHAI_LAUNCH_SSH_PORT"] == "2323"


def test_a_second_attempt_finds_the_output_of_the_first() -> None:
    outputs = [{"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs"}]
    env = environment(plan(outputDirectories=outputs))
    assert env["AZ_BATCHAI_PREV_OUTPUT_MODEL"] == env["AZ_BATCHAI_OUTPUT_MODEL"]
    assert environment(plan_two(outputDirectories=outputs)[0])["AZ_BATCHAI_PREV_OUTPUT_MODEL"] == ""


def test_surroundings_belong_to_the_job() -> None:
    subject = job(nodeCount=2)
    secret = peers.ssh_secret(subject, bytes(range(32)))
    for made in (peers.service(subject), secret, peers.shared_claim(subject, "nfs")):
        assert made["metadata"]["ownerReferences"][0]["uid"] == UID
    private = base64.b64decode(secret["data"]["id"])
    # Dropbear's format: type, then seed and public key.
    assert private[:15] == b"\x00\x00\x00\x0bssh-ed25519"
    assert private[19:51] == bytes(range(32))
    key_type, blob = base64.b64decode(secret["data"]["id.pub"]).split()
    assert key_type == b"ssh-ed25519"
    assert base64.b64decode(blob)[-32:] == private[51:]


def test_the_clusters_vm_image_chooses_the_image_of_its_jobs() -> None:
    machine = {"imageReference": {"publisher": "microsoft-ads", "offer": "Linux-DSVM", "sku": "x"}}
    cluster = ClusterSpec.model_validate(
        {"workspace": "w", "vmSize": "Standard_NC6", "virtualMachineConfiguration": machine}
    )
    images = {"linux-dsvm": {"*": "dsvm:1"}}
    assert default_images(cluster, {"cntkSettings": "cntk:1", "*": "base:1"}, images) == {
        "cntkSettings": "cntk:1",
        "*": "dsvm:1",
    }
    assert default_images(CLUSTER, {"*": "base:1"}, images) == {"*": "base:1"}
