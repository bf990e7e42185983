"""The stand-ins behave as Azure and its drivers do, through a real kubelet."""

import uuid
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from tests.e2e.jobs import IMAGE, Cluster, Space, wait_until

DEFAULT = "batchai-storage-batchaitest"


def pod(space: Space, name: str, command: str, volume: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space.namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "command": ["sh", "-c", command],
                    "volumeMounts": [{"name": "mount", "mountPath": "/m", "mountPropagation": "HostToContainer"}],
                }
            ],
            "volumes": [{"name": "mount", "csi": volume}],
        },
    }


def share(space: Space, **attributes: str) -> dict[str, Any]:
    given = {"shareName": space.namespace, "secretName": DEFAULT, **attributes}
    return {"driver": "file.csi.azure.com", "volumeAttributes": given}


def container(space: Space, **attributes: str) -> dict[str, Any]:
    given = {"containerName": space.namespace, "secretName": DEFAULT, "protocol": "fuse2", **attributes}
    return {"driver": "blob.csi.azure.com", "volumeAttributes": given}


def run(space: Space, command: str, volume: dict[str, Any]) -> str:
    name = f"p-{uuid.uuid4().hex[:6]}"
    space.cluster.apply(pod(space, name, command, volume))
    wait_until(
        lambda: space.cluster.get("pod", name, space.namespace)["status"]["phase"] == "Succeeded", f"{name} ends"
    )
    return space.cluster.kubectl("logs", "-n", space.namespace, name)


def test_a_share_is_the_same_through_mount_and_rest(space: Space) -> None:
    space.storage.files.get_share_client(space.namespace).get_file_client("in.txt").upload_file(b"from rest")
    assert run(space, "cat /m/in.txt; printf 'from pod' >/m/out.txt", share(space)) == "from rest"
    assert space.read_share("out.txt") == b"from pod"


def test_a_container_is_the_same_through_mount_and_rest(space: Space) -> None:
    blobs = space.storage.blobs.get_container_client(space.namespace)
    blobs.upload_blob("dir/in.txt", b"from rest")
    # The writer's pod stays until the mount has written the blob back.
    assert run(space, "cat /m/dir/in.txt; printf 'from pod' >/m/out.txt; sleep 3", container(space)) == "from rest"

    def arrived() -> bool:
        try:
            return blobs.download_blob("out.txt").readall() == b"from pod"
        except ResourceNotFoundError:
            return False

    wait_until(arrived, "the blob is there", seconds=20)


def test_read_only_is_enforced(space: Space) -> None:
    assert "Read-only" in run(space, "touch /m/x 2>&1; true", share(space, mountOptions="ro"))
    assert "Read-only" in run(space, "touch /m/x 2>&1; true", container(space, mountOptions="-o ro"))


def test_refusals_reach_the_pods_events(space: Space) -> None:
    space.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "wrong", "namespace": space.namespace},
            "stringData": {"azurestorageaccountname": "batchaitest", "azurestorageaccountkey": "d3Jvbmc="},
        }
    )
    cases = {
        "no-share": (share(space, shareName="nothing"), "mount error(2): No such file or directory"),
        "wrong-key": (share(space, secretName="wrong"), "mount error(13): Permission denied"),
        "no-secret": (share(space, secretName="none"), 'secrets "none" not found'),
        "unknown": (share(space, colour="red"), "invalid parameter colour"),
        "no-container": (container(space, containerName="nothing"), "does not exist"),
        "wrong-blob-key": (container(space, secretName="wrong"), "failed to authenticate"),
        "flag": (container(space, mountOptions="--use-https=true"), "is not allowed in inline volume"),
    }
    for name, (volume, _) in cases.items():
        space.cluster.apply(pod(space, name, "true", volume))
    for name, (_, text) in cases.items():
        wait_until(lambda name=name, text=text: text in _mount_failures(space, name), f"{name}: {text}", seconds=60)
    space.cluster.kubectl("delete", "pods", "-n", space.namespace, "--wait=false", *cases)


def _mount_failures(space: Space, name: str) -> str:
    selector = f"involvedObject.name={name},reason=FailedMount"
    return space.cluster.kubectl("get", "events", "-n", space.namespace, "--field-selector", selector, "-o", "yaml")


def test_gpus_come_and_go_with_their_health(cluster: Cluster) -> None:
    plugin = cluster.list("pods", "azure", "app=node-plugin")[-1]
    name, node = plugin["metadata"]["name"], plugin["spec"]["nodeName"]

    def gpus() -> str:
        return str(cluster.get("node", node)["status"]["allocatable"].get("nvidia.com/gpu"))

    assert gpus() == "1"
    try:
        cluster.kubectl("exec", "-n", "azure", name, "--", "touch", "/run/gpu/unhealthy")
        wait_until(lambda: gpus() == "0", "the GPU is unhealthy", seconds=30)
    finally:
        cluster.kubectl("exec", "-n", "azure", name, "--", "rm", "-f", "/run/gpu/unhealthy")
        wait_until(lambda: gpus() == "1", "the GPU is healthy again", seconds=30)


@pytest.mark.parametrize("driver", ["file.csi.azure.com", "blob.csi.azure.com"])
def test_csi_drivers_have_upstreams_fields(cluster: Cluster, driver: str) -> None:
    spec = cluster.get("csidriver", driver)["spec"]
    assert (spec["attachRequired"], spec["podInfoOnMount"], spec["requiresRepublish"]) == (False, True, True)
    assert sorted(spec["volumeLifecycleModes"]) == ["Ephemeral", "Persistent"]
    assert spec["fsGroupPolicy"] == "ReadWriteOnceWithFSType"
