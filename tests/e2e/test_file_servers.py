"""FileServers, asked by a client that needs no kernel: this one has none, so a kubelet could not mount them here."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.jobs import Cluster, Space, Storage

IMAGE = "batchai-test/nfs:dev"
CLAIM = "data-fileserver-nfs-0"


@pytest.fixture(scope="module")
def space(cluster: Cluster, storage: Storage) -> Iterator[Space]:
    space = Space(cluster, storage, f"e2e-{uuid.uuid4().hex[:8]}")
    space.make(nodes=1)
    container = {"name": "client", "image": IMAGE, "command": ["sleep", "3600"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    metadata = {"name": "client", "namespace": space.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    cluster.kubectl("wait", "--for=condition=Ready", "pod/client", "-n", space.namespace, "--timeout=60s")
    yield space
    space.remove()


@pytest.fixture(scope="module")
def disk(space: Space) -> Iterator[None]:
    """A volume that waits for the server's claim; it is a folder that every node has."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "2Gi"},
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": space.namespace, "name": CLAIM},
        "hostPath": {"path": f"/var/lib/azure-files/{space.namespace}", "type": "Directory"},
    }
    metadata = {"name": space.namespace}
    space.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})
    yield
    space.cluster.kubectl("delete", "pv", space.namespace, "--wait=false")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


def make(space: Space, key: Path, labels: dict[str, str] | None = None, **spec: Any) -> None:
    public = key.with_suffix(".pub").read_text().strip()
    access = {
        "userAccountSettings": {"adminUserName": "Admin_1", "adminUserSshPublicKey": public},
        "publicIPsToAllow": ["203.0.113.0/24"],
    }
    disks = {"diskCount": 2, "diskSizeInGB": 1, "storageAccountType": "Standard_LRS"}
    given = {"workspace": "work", "vmSize": "STANDARD_D2", "sshConfiguration": access, "dataDisks": disks, **spec}
    server = space.resource("FileServer", "nfs", given)
    server["metadata"]["labels"] = labels or {}
    space.cluster.apply(server)


def status(space: Space) -> dict[str, Any]:
    found: dict[str, Any] = space.cluster.get("bfs", "nfs", space.namespace).get("status", {})
    return found


def ready(space: Space) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in status(space).get("conditions", []))


def pod_uid(space: Space) -> str | None:
    pods = space.cluster.list("pods", space.namespace, "batchai.dev/file-server=nfs")
    return next((pod["metadata"]["uid"] for pod in pods), None)


def client(space: Space, command: str) -> str:
    return space.cluster.kubectl("exec", "-n", space.namespace, "client", "--", "sh", "-c", command)


def url(space: Space, path: str = "") -> str:
    mount = status(space)["mountSettings"]
    return f"'nfs://{mount['fileServerInternalIP']}{mount['mountPoint']}{path}?version=4'"


def wait_for(space: Space, ask: str) -> None:
    """A command succeeds: nodes learn a moment later than the operator that a pod of the Service is ready, and a
    server that restarted keeps files back for its 30 s of grace."""
    client(space, f"for i in $(seq 90); do {ask} >/dev/null 2>&1 && exit; sleep 0.5; done; exit 1")


def test_a_file_server_waits_for_its_disk_and_serves(space: Space, key: Path) -> None:
    make(space, key)
    space.wait_until(
        lambda: any("claim" in item["message"].lower() for item in status(space).get("conditions", [])),
        "it says that its claim has no volume",
    )
    assert status(space)["provisioningState"] == "creating"
    assert space.cluster.get("pvc", CLAIM, space.namespace)["spec"]["resources"]["requests"]["storage"] == "2Gi"


def run(space: Space, name: str, command: str) -> None:
    """A job that asks the server by itself."""
    space.run(name, command, containerSettings={"imageSourceRegistry": {"image": IMAGE}})


def test_what_a_job_writes_is_read_by_the_next_when_the_server_had_to_leave_its_node(space: Space, disk: None) -> None:
    space.wait_until(lambda: ready(space), "it serves")
    shown = status(space)
    assert shown["provisioningState"] == "succeeded"
    service = space.cluster.get("service", "fileserver-nfs", space.namespace)
    assert shown["mountSettings"] == {
        "mountPoint": "/data",
        "fileServerInternalIP": service["spec"]["clusterIP"],
    }
    wait_for(space, f"nfs-ls {url(space)}")
    # Small, because Debian's libnfs 4.0 cannot send more than a few kilobytes at once by NFS 4.
    run(space, "writes", f"seq 1 1000 >/tmp/numbers && nfs-cp /tmp/numbers {url(space, '/numbers')}")
    before = space.cluster.get("pod", "fileserver-nfs-0", space.namespace)
    lost = before["spec"]["nodeName"]
    space.cluster.kubectl("cordon", lost)
    try:
        # As an administrator does with pods of a node that does not come back.
        space.cluster.kubectl("delete", "pod", "fileserver-nfs-0", "-n", space.namespace, "--grace-period=0", "--force")
        space.wait_until(
            lambda: pod_uid(space) not in {None, before["metadata"]["uid"]} and ready(space), "another pod serves"
        )
        assert space.cluster.get("pod", "fileserver-nfs-0", space.namespace)["spec"]["nodeName"] != lost
    finally:
        space.cluster.kubectl("uncordon", lost)
    assert status(space)["mountSettings"] == shown["mountSettings"]
    wait_for(space, f"nfs-cat {url(space, '/numbers')}")
    run(space, "reads", f"nfs-cat {url(space, '/numbers')} >/tmp/numbers && seq 1 1000 | cmp - /tmp/numbers")
    assert client(space, f"nfs-ls {url(space)}").endswith(" numbers\n")


def test_its_administrator_comes_in_by_ssh_and_others_do_not(space: Space, key: Path) -> None:
    def ssh(*options: str) -> str:
        where = f"Admin_1@{status(space)['mountSettings']['fileServerInternalIP']}"
        plain = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        return f"ssh -q {plain} {' '.join(options)} {where}"

    space.cluster.kubectl("cp", str(key), f"{space.namespace}/client:/tmp/key")
    inside = "'id -un && ls /data && echo mine >/data/note'"
    assert client(space, f"chmod 400 /tmp/key && {ssh('-i /tmp/key')} {inside}") == "Admin_1\nnumbers\n"
    assert client(space, f"{ssh()} true || echo refused") == "refused\n"
    assert client(space, f"nfs-cat {url(space, '/note')}") == "mine\n"


def test_a_load_balancer_lets_those_in_who_are_named(space: Space) -> None:
    spec = space.cluster.get("service", "fileserver-nfs-public", space.namespace)["spec"]
    assert (spec["type"], spec["loadBalancerSourceRanges"]) == ("LoadBalancer", ["203.0.113.0/24"])
    assert [port["port"] for port in spec["ports"]] == [22]


def delete(space: Space) -> None:
    space.cluster.kubectl("delete", "bfs", "nfs", "-n", space.namespace)
    space.wait_until(lambda: pod_uid(space) is None, "its pod is gone")


def wait_for_problem(space: Space, reason: str, words: str) -> None:
    space.wait_until(
        lambda: any(
            item["reason"] == reason and words in item["message"] for item in status(space).get("conditions", [])
        ),
        f"it says {reason}",
    )


def test_data_that_was_left_is_not_given_to_another_nor_is_more_promised_than_there_is(space: Space, key: Path) -> None:
    delete(space)
    make(space, key, labels={"batchai.dev/name": "NFS"})
    wait_for_problem(space, "NameTaken", "the former file server 'nfs' of workspace 'work'")
    delete(space)
    make(space, key, dataDisks={"diskCount": 2, "diskSizeInGB": 2, "storageAccountType": "Standard_LRS"})
    wait_for_problem(space, "Refused", "resize")


def test_the_data_outlives_the_file_server_until_it_may_go(space: Space, key: Path) -> None:
    delete(space)
    make(space, key)
    space.wait_until(lambda: ready(space), "the next one of the name serves")
    wait_for(space, f"nfs-cat {url(space, '/note')}")
    assert client(space, f"nfs-cat {url(space, '/note')}") == "mine\n"
    patch = '{"spec":{"reclaimPolicy":"Delete"}}'
    space.cluster.kubectl("patch", "bfs", "nfs", "-n", space.namespace, "--type", "merge", "-p", patch)

    def policy() -> str:
        spec = space.cluster.get("statefulset", "fileserver-nfs", space.namespace)["spec"]
        found: str = spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"]
        return found

    space.wait_until(lambda: policy() == "Delete", "the claim may go")
    claims = space.cluster.list("pvc", space.namespace)
    assert [claim["metadata"]["name"] for claim in claims] == [CLAIM]
    space.wait_until(
        lambda: space.cluster.get("pvc", CLAIM, space.namespace)["metadata"].get("ownerReferences"),
        "it is owned",
    )
    delete(space)
    space.wait_until(lambda: not space.cluster.list("pvc", space.namespace), "the claim is gone")
