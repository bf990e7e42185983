"""Every way to mount data, and how each fails. What needs NFS in the kernel is shown up to the kubelet's mount call."""

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from tests.e2e.jobs import OPERATOR, Cluster, Space, Storage

IDENTITY = {"workloadIdentity": {"clientId": "11111111-2222-3333-4444-555555555555"}}


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=2)
    yield space
    space.remove()


def secret(space: Space, name: str, **values: str) -> dict[str, Any]:
    """Makes a storage account's Secret; the credentials that name it."""
    given = {"azurestorageaccountname": space.storage.account, **values}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in given.items()}
    metadata = {"name": name, "namespace": space.namespace}
    space.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    return {"secretRef": {"name": name}}


def sas(space: Space) -> str:
    token: str = generate_container_sas(
        space.storage.account,
        space.namespace,
        account_key=space.storage.key,
        permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return token


def error(job: dict[str, Any]) -> dict[str, Any]:
    """The job's first error with its details by name."""
    found: dict[str, Any] = job["status"]["executionInfo"]["errors"][0]
    return found | {"details": {item["name"]: item["value"] for item in found.get("details", [])}}


def waiting(space: Space, name: str) -> dict[str, str]:
    return space.job(name).get("status", {}).get("waiting") or {}


def test_key_sas_and_identity_mount_and_read_only_refuses_writes(space: Space) -> None:
    volumes = space.mount_volumes()
    (share,), (blob,) = volumes["azureFileShares"], volumes["azureBlobFileSystems"]
    token = secret(space, "token", azurestorageaccountsastoken=sas(space))
    volumes["azureFileShares"] += [
        {**share, "relativeMountPath": "share-ro", "readOnly": True},
        {**share, "relativeMountPath": "share-id", "credentials": IDENTITY},
    ]
    volumes["azureBlobFileSystems"] = [
        {**blob, "credentials": token, "mountOptions": "--use-https=true -o big_writes -o allow_other"},
        {**blob, "credentials": token, "relativeMountPath": "data-ro", "readOnly": True},
        {**blob, "credentials": IDENTITY, "relativeMountPath": "data-id"},
    ]
    command = (
        "cd $AZ_BATCHAI_JOB_MOUNT_ROOT; cat data/in data-ro/in data-id/in; echo there >share-id/there; "
        "cat share-ro/there; for at in share-ro data-ro; do touch $at/new 2>&1 && exit 3; done; echo out >data/out"
    )
    job = space.run("mounts", command, mountVolumes=volumes, blobs={"in": b"in\n"})
    output = space.read_output("mounts", "stdouterr/stdout.txt").decode()
    assert output.startswith("in\nin\nin\nthere\n")
    assert output.count("Read-only file system") == 2
    assert space.storage.blobs.get_blob_client(space.namespace, "out").download_blob().readall() == b"out\n"
    (adjusted,) = (item for item in job["status"]["conditions"] if item["type"] == "MountOptionsAdjusted")
    assert adjusted["message"].endswith(": --use-https=true, -o big_writes")


@contextmanager
def claim(space: Space, name: str) -> Iterator[None]:
    """A claim on the folder of the space's share, which every node of the test cluster has."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        **spec,
        "capacity": {"storage": "1Gi"},
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": space.namespace, "name": name},
        "hostPath": {"path": f"/var/lib/azure-files/{space.namespace}", "type": "Directory"},
    }
    asked = {**spec, "volumeName": space.namespace, "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": space.namespace}
    space.cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": space.namespace}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": asked},
    )
    try:
        yield
    finally:
        space.cluster.kubectl("delete", "pv", space.namespace, "--wait=false")


def test_a_job_with_nothing_but_a_claim_waits_for_it_and_runs(space: Space) -> None:
    logs = {"claimName": "training", "relativeMountPath": "logs"}
    part = {**logs, "subPath": "sets/mnist", "relativeMountPath": "mnist"}
    volumes = {"persistentVolumeClaims": [logs, part, {**part, "relativeMountPath": "mnist-ro", "readOnly": True}]}
    command = (
        "cd $AZ_BATCHAI_JOB_MOUNT_ROOT; echo seven >mnist/x; cat mnist-ro/x logs/sets/mnist/x; "
        "! touch mnist-ro/y 2>/dev/null"
    )
    space.submit("claims", command, mountVolumes=volumes)
    space.wait_until(lambda: waiting(space, "claims").get("reason") == "PersistentVolumeClaimNotFound", "the reason")
    assert "'training'" in waiting(space, "claims")["message"]
    with claim(space, "training"):
        status = space.finished("claims")["status"]
        assert status["executionState"] == "succeeded", json.dumps(status, indent=1)
        assert space.read_output("claims", "stdouterr/stdout.txt") == b"seven\nseven\n"
        shared = {"claimName": "training", "subPath": "sets", "relativeMountPath": "sets"}
        setup = {"mountVolumes": {"persistentVolumeClaims": [shared]}}
        space.make_cluster("shared", {"manual": {"targetNodeCount": 1}}, nodeSetup=setup)
        space.run(
            "of-cluster",
            "cat $AZ_BATCHAI_MOUNT_ROOT/sets/mnist/x",
            cluster="shared",
            mountVolumes={"persistentVolumeClaims": [logs]},
        )
        assert space.read_output("of-cluster", "stdouterr/stdout.txt") == b"seven\n"
        space.cluster.kubectl("delete", "bcluster", "shared", "-n", space.namespace, "--timeout=30s")


def test_the_key_is_seen_by_nobody(space: Space) -> None:
    job = space.run("looks", "env; cat /proc/*/environ /proc/*/cmdline; cat /proc/mounts")
    assert job["status"]["executionInfo"]["exitCode"] == 0
    place = ("-n", space.namespace)
    seen = [
        space.read_output("looks", "stdouterr/stdout.txt").decode(errors="replace"),
        space.cluster.kubectl("get", "bjob,bcluster,pods,events", *place, "-o", "yaml"),
        space.cluster.kubectl("logs", *place, "looks-1-0", "--all-containers"),
        space.cluster.kubectl("logs", "-n", OPERATOR, "deployment/batchai-operator"),
        space.cluster.kubectl("logs", "-n", "azure", "-l", "app=node-plugin", "--all-containers", "--tail=-1"),
    ]
    assert all(len(text) > 100 for text in seen[:-1])
    assert not [text for text in seen if space.storage.key in text]


def test_what_cannot_be_mounted_says_why_and_leaves_nothing_behind(space: Space) -> None:
    """Two failures at a time: each takes its 30 s."""
    key = base64.b64encode(b"another key").decode()
    (share,) = space.mount_volumes()["azureFileShares"]
    old = secret(space, "rotated", azurestorageaccountkey=key)
    volumes = {"azureFileShares": [{**share, "credentials": old}]}
    space.submit("old-key", "true", mountVolumes=volumes)
    filer = {"mountCommand": "mount -t nfs -o nconnect=4 127.0.0.1:/x", "relativeMountPath": "filer"}
    nfs = {**space.mount_volumes(), "unmanagedFileSystems": [filer]}
    space.submit("filer", "true", mountVolumes=nfs)
    space.wait_until(lambda: static_volumes(space, "filer"), "the volume behind the mount exists")
    failed = error(space.finished("filer"))
    assert failed["code"] == "MountError"
    # Of the node, which has no NFS client here, or of the server, where it has one.
    assert failed["message"].startswith("NFS export could not be mounted: the "), failed
    assert "mount failed" in failed["details"]["Info"]
    space.wait_until(lambda: not static_volumes(space, "filer"), "the volume is gone")
    assert not space.cluster.list("pvc", space.namespace, "batchai.dev/job=filer")
    refused = error(space.finished("old-key"))
    assert refused["code"] == "AZFMountError"
    assert f"account {space.storage.account} refused the key" in refused["message"]
    secret(space, "rotated", azurestorageaccountkey=space.storage.key)
    space.run("new-key", "true", mountVolumes=volumes)


def static_volumes(space: Space, job: str) -> list[str]:
    """The PersistentVolumes that were made for a job of this name in the space."""
    found = space.cluster.list("pv", selector=f"batchai.dev/job={job}")
    return [item["metadata"]["name"] for item in found if item["spec"]["claimRef"]["namespace"] == space.namespace]


def test_volumes_of_a_job_that_went_while_the_operator_was_away_are_swept(space: Space) -> None:
    filer = {"mountCommand": "mount -t nfs -o nconnect=4 127.0.0.1:/x", "relativeMountPath": "filer"}
    space.submit("left", "true", mountVolumes={**space.mount_volumes(), "unmanagedFileSystems": [filer]})
    space.wait_until(lambda: static_volumes(space, "left"), "the volume behind the mount exists")
    with space.operator_stopped():
        space.cluster.kubectl("delete", "bjob", "left", "-n", space.namespace, "--timeout=30s")
        assert static_volumes(space, "left")
    space.wait_until(lambda: not static_volumes(space, "left"), "the volume is swept")


def test_other_mount_commands_run_where_the_operator_allows_it(space: Space) -> None:
    def mounts(command: str) -> dict[str, Any]:
        own = {"mountCommand": command, "relativeMountPath": "own"}
        return {**space.mount_volumes(), "unmanagedFileSystems": [own]}

    memory = mounts("mount -t tmpfs -o size=8m scratch")
    space.submit("forbidden", "true", mountVolumes=memory)
    refused = error(space.finished("forbidden"))
    assert refused["code"] == "InvalidJob"
    assert "BATCHAI_MOUNT_COMMAND_NAMESPACES" in refused["message"]
    with space.cluster.operator_settings(BATCHAI_MOUNT_COMMAND_NAMESPACES=space.namespace):
        space.submit("unknown", "true", mountVolumes=mounts("mount -t nosuch server:/x"))
        own = "$AZ_BATCHAI_JOB_MOUNT_ROOT/own"
        space.run("allowed", f"grep {own} /proc/mounts && echo 42 >{own}/x && cat {own}/x", mountVolumes=memory)
        first, second = space.read_output("allowed", "stdouterr/stdout.txt").decode().splitlines()
        assert first.startswith("scratch ")
        assert "size=8192k" in first
        assert second == "42"
        failed = error(space.finished("unknown"))
        assert failed["code"] == "MountError"
        assert "nosuch" in failed["details"]["Info"] or "No such device" in failed["details"]["Info"], failed
    for job in ("allowed", "unknown"):
        space.wait_until(lambda job=job: all("running" not in str(pod["status"]) for pod in space.pods(job)), "the end")
        (node,) = space.job(job)["status"]["attempts"][0]["nodes"]
        left = ["docker", "exec", node, "sh", "-c", "grep batchai/mounts /proc/mounts; ls /var/lib/batchai/mounts"]
        assert subprocess.run(left, capture_output=True, text=True, check=False).stdout == ""


def test_a_job_waits_for_its_file_server_by_name(space: Space) -> None:
    server = {"fileServer": {"id": "/subscriptions/s/workspaces/work/fileServers/absent"}, "relativeMountPath": "nfs"}
    space.submit("served", "true", mountVolumes={**space.mount_volumes(), "fileServers": [server]})
    space.wait_until(lambda: waiting(space, "served").get("reason") == "FileServerNotFound", "the reason")
    assert "FileServer 'absent'" in waiting(space, "served")["message"]
    space.terminate("served")
    space.finished("served")


KILL = """
import os, signal, sys
for name in filter(str.isdigit, os.listdir('/proc')):
    try:
        words = open(f'/proc/{name}/cmdline').read().split(chr(0))
    except OSError:
        continue
    if words[:3] == ['rclone', 'mount', 'az:' + sys.argv[1]]:
        os.kill(int(name), signal.SIGKILL)
        print(name)
"""


def test_a_job_whose_fuse_mount_dies_runs_again(space: Space) -> None:
    command = (
        "[ ! -e $AZ_BATCHAI_OUTPUT_MODEL/first ] || exit 0; touch $AZ_BATCHAI_OUTPUT_MODEL/first; "
        "while ls $AZ_BATCHAI_JOB_MOUNT_ROOT/data >/dev/null; do sleep 0.5; done; exit 9"
    )
    space.submit("bereft", command)
    space.wait_until(lambda: space.try_read_output("bereft", "outputs/first") is not None, "the first attempt works")
    (node,) = space.job("bereft")["status"]["nodes"]
    plugins = space.cluster.list("pods", "azure", "app=node-plugin")
    (plugin,) = (pod["metadata"]["name"] for pod in plugins if pod["spec"]["nodeName"] == node)
    assert space.cluster.kubectl("exec", "-n", "azure", plugin, "--", "python3", "-c", KILL, space.namespace)
    status = space.finished("bereft")["status"]
    assert (status["executionState"], status["attempt"]) == ("succeeded", 2), json.dumps(status, indent=1)
    assert status["attempts"][0]["reason"] == "MountLost"
    assert b"does not work any more" in space.read_output("bereft", "stdouterr/execution.log")


def test_a_share_that_is_deleted_under_a_job_is_named_when_it_runs_again(space: Space) -> None:
    gone = f"{space.namespace}-gone"
    share = space.storage.files.create_share(gone)
    volumes = space.mount_volumes()
    url = f"https://{space.storage.account}.file.core.windows.net/{gone}"
    volumes["azureFileShares"].append({"azureFileUrl": url, "relativeMountPath": "gone"})
    command = (
        "cd $AZ_BATCHAI_JOB_MOUNT_ROOT; touch gone/here $AZ_BATCHAI_OUTPUT_MODEL/first; "
        "while ls gone/here >/dev/null; do sleep 0.5; done; exit 9"
    )
    space.submit("robbed", command, mountVolumes=volumes)
    space.wait_until(lambda: space.try_read_output("robbed", "outputs/first") is not None, "the first attempt works")
    share.delete_share()
    failed = space.finished("robbed")
    assert failed["status"]["attempts"][0]["reason"] == "MountLost", json.dumps(failed["status"], indent=1)
    reason = error(failed)
    assert reason["code"] == "AZFMountError"
    assert f"the share {gone} does not exist in account {space.storage.account}" in reason["message"]
