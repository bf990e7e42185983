from dataclasses import replace
from typing import Any

import pytest
from kubernetes.client import V1Pod

from batchai.api import names
from batchai.api.mounts import MountVolumes
from batchai.errors import DependencyNotReady, SpecError
from batchai.plan.mounts import (
    Endpoints,
    Export,
    Mount,
    Surroundings,
    claim_names,
    dropped_options,
    file_server_ids,
    job_mounts,
    key_secret_names,
    secret_names,
)
from batchai.plan.node_pod import helpers
from batchai.plan.node_pod import volumes as pod_volumes
from batchai.plan.static_volumes import VolumeOwner, belongs_to, static_volumes

UID = "0b5f1f0e-0000-4000-8000-000000000001"
SERVERS = Surroundings(export=lambda _: Export("10.0.0.9", "/data"), owner=UID)
IDENTITY = {"workloadIdentity": {"clientId": "c", "tenantId": "t"}}


def volumes(**lists: Any) -> MountVolumes:
    return MountVolumes.model_validate(lists)


def mount(surroundings: Surroundings = SERVERS, **lists: Any) -> Mount:
    (found,) = job_mounts(volumes(**lists), "/root", surroundings)
    return found


def attributes(found: Mount) -> dict[str, str]:
    given: dict[str, str] = found.pod_volume()["csi"]["volumeAttributes"]
    return given


FILE = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "logs"}
BLOB = {"accountName": "acc", "containerName": "data", "relativeMountPath": "data"}
SERVER = {"fileServer": {"id": "nfs"}, "relativeMountPath": "nfs"}
CLAIM = {"claimName": "training", "relativeMountPath": "claim"}


def test_file_share_becomes_an_inline_volume() -> None:
    found = mount(azureFileShares=[FILE])
    assert found.source["csi"]["driver"] == "file.csi.azure.com"
    given = attributes(found)
    assert given["shareName"] == "logs"
    assert given["secretName"] == "batchai-storage-acc"
    assert given["mountOptions"].startswith("file_mode=0777,dir_mode=0777,")
    assert "server" not in given
    assert found.volume_mount()["mountPath"] == "/root/logs"
    assert "readOnly" not in found.volume_mount()


def test_blob_container_becomes_an_inline_volume_of_blobfuse2() -> None:
    given = attributes(mount(azureBlobFileSystems=[BLOB | {"credentials": {"secretRef": {"name": "mine"}}}]))
    assert (given["protocol"], given["containerName"], given["secretName"]) == ("fuse2", "data", "mine")
    assert "server" not in given
    assert "storageEndpointSuffix" not in given


def test_read_only_is_said_to_the_driver_and_to_the_container() -> None:
    share = mount(azureFileShares=[FILE | {"readOnly": True}])
    assert attributes(share)["mountOptions"].endswith(",ro")
    blob = mount(azureBlobFileSystems=[BLOB | {"readOnly": True, "mountOptions": "-o allow_other"}])
    assert attributes(blob)["mountOptions"] == "-o allow_other,-o ro"
    twice = mount(azureBlobFileSystems=[BLOB | {"readOnly": True, "mountOptions": "-o ro"}])
    assert attributes(twice)["mountOptions"] == "-o ro"
    server = mount(fileServers=[SERVER | {"readOnly": True}])
    assert server.source["nfs"]["readOnly"] is True
    claim = mount(persistentVolumeClaims=[CLAIM | {"readOnly": True}])
    assert all(found.volume_mount()["readOnly"] is True for found in (share, blob, twice, server, claim))


@pytest.mark.parametrize("lists", [{"azureFileShares": [FILE]}, {"azureBlobFileSystems": [BLOB]}])
def test_an_identity_takes_the_place_of_the_secret(lists: dict[str, Any]) -> None:
    lists = {name: [{**entry, "credentials": IDENTITY} for entry in entries] for name, entries in lists.items()}
    given = attributes(mount(**lists))
    assert "secretName" not in given
    assert given["storageAccount"] == "acc"
    assert given["mountWithWorkloadIdentityToken"] == "true"
    assert (given["clientID"], given["tenantID"]) == ("c", "t")
    assert secret_names(volumes(**lists)) == ()


def test_other_clouds_and_accounts_of_other_endpoints() -> None:
    china = FILE | {"azureFileUrl": "https://acc.file.core.chinacloudapi.cn/logs"}
    assert attributes(mount(azureFileShares=[china]))["server"] == "acc.file.core.chinacloudapi.cn"
    suffix = Surroundings(Endpoints("core.chinacloudapi.cn"))
    given = attributes(mount(suffix, azureBlobFileSystems=[BLOB]))
    assert given["storageEndpointSuffix"] == "core.chinacloudapi.cn"
    own = Surroundings(Endpoints(files={"acc": "10.0.0.1"}, blobs={"acc": "http://10.0.0.1:10000/acc"}))
    assert attributes(mount(own, azureFileShares=[FILE]))["server"] == "10.0.0.1"
    assert attributes(mount(own, azureBlobFileSystems=[BLOB]))["server"] == "http://10.0.0.1:10000/acc"
    other = attributes(mount(own, azureBlobFileSystems=[BLOB | {"accountName": "other"}]))
    assert "server" not in other


def test_secrets_are_named_once_and_shares_need_the_key() -> None:
    both = volumes(
        azureFileShares=[FILE, FILE | {"relativeMountPath": "b"}],
        azureBlobFileSystems=[BLOB, BLOB | {"accountName": "other"}],
    )
    assert secret_names(both) == ("batchai-storage-acc", "batchai-storage-other")
    assert key_secret_names(both) == {"batchai-storage-acc"}
    assert secret_names(None) == ()


def test_a_file_server_becomes_a_plain_nfs_volume() -> None:
    found = mount(fileServers=[SERVER | {"sourceDirectory": "/sets/mnist/", "mountOptions": "rw"}])
    assert found.source == {"nfs": {"server": "10.0.0.9", "path": "/data/sets/mnist", "readOnly": False}}
    assert found.title == "10.0.0.9:/data/sets/mnist"
    assert found.static is None
    assert mount(fileServers=[SERVER]).source["nfs"]["path"] == "/data"
    assert file_server_ids(volumes(fileServers=[SERVER])) == {"nfs"}


def test_a_file_server_that_does_not_serve_is_waited_for() -> None:
    def none(identifier: str) -> Export:
        raise DependencyNotReady("FileServerNotFound", identifier)

    with pytest.raises(DependencyNotReady, match="nfs"):
        job_mounts(volumes(fileServers=[SERVER]), "/root", replace(SERVERS, export=none))


def test_a_mount_command_of_nfs_becomes_a_plain_volume() -> None:
    own = {"mountCommand": "mount -t nfs4 filer:/x", "relativeMountPath": "own"}
    assert mount(unmanagedFileSystems=[own]).source == {"nfs": {"server": "filer", "path": "/x", "readOnly": False}}


GLUSTER = {"mountCommand": "sudo mount -t glusterfs $HOST:/gv0", "relativeMountPath": "own"}
COMMANDS = replace(SERVERS, command_image="tools:1")


def test_any_other_mount_command_runs_in_a_privileged_container_beside_the_job() -> None:
    found = mount(COMMANDS, unmanagedFileSystems=[GLUSTER])
    directory = f"/var/lib/batchai/mounts/{UID}/mount-0"
    assert found.volume_mount() == {"name": "mount-0", "mountPath": "/root/own", "mountPropagation": "HostToContainer"}
    parent, *_, volume = pod_volumes([found])
    # Not a volume of the pod: the kubelet would empty what is still mounted there.
    assert volume == {"name": "mount-0", "hostPath": {"path": directory, "type": "DirectoryOrCreate"}}
    (helper,) = helpers([found])
    assert (helper["image"], helper["restartPolicy"]) == ("tools:1", "Always")
    assert helper["command"][-1] == directory
    assert helper["env"] == [{"name": "BATCHAI_MOUNT_COMMAND", "value": "mount -t glusterfs $$HOST:/gv0"}]
    assert helper["securityContext"]["privileged"]
    own = {entry["name"]: entry for entry in helper["volumeMounts"]}
    assert own[parent["name"]]["mountPropagation"] == "Bidirectional"
    assert directory.startswith(own[parent["name"]]["mountPath"])
    V1Pod.model_validate({"spec": {"volumes": [parent, volume], "initContainers": [helper], "containers": []}})
    assert not helpers([mount(fileServers=[SERVER])])


@pytest.mark.parametrize(
    ("surroundings", "said"),
    [
        (SERVERS, "'sudo mount .*mount -t nfs.*persistentVolumeClaims.*BATCHAI_MOUNT_COMMAND_NAMESPACES"),
        (replace(COMMANDS, claims_only=True), "podSecurity 'restricted'.*persistentVolumeClaims"),
    ],
)
def test_where_a_mount_command_may_not_run_the_remedies_are_told(surroundings: Surroundings, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        mount(surroundings, unmanagedFileSystems=[GLUSTER])


def test_what_a_plain_volume_cannot_say_becomes_a_static_one() -> None:
    own = {"mountCommand": "mount -t nfs -o nconnect=4,ro filer:/x", "relativeMountPath": "own"}
    found = mount(unmanagedFileSystems=[own])
    name = f"batchai-{UID}-nfs-own-0"
    assert found.source == {"persistentVolumeClaim": {"claimName": name}}
    reference = {"apiVersion": "batchai.dev/v1alpha1", "kind": "Job", "name": "train", "uid": UID}
    (pair,) = static_volumes([found], VolumeOwner("ns", names.LABEL_JOB, reference))
    volume, claim = pair.volume, pair.claim
    assert volume["metadata"] == {
        "name": name,
        "labels": {"app.kubernetes.io/managed-by": "batchai", "batchai.dev/job": "train"},
    }
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["mountOptions"] == ["nconnect=4", "ro"]
    assert volume["spec"]["nfs"] == {"server": "filer", "path": "/x", "readOnly": True}
    assert volume["spec"]["accessModes"] == claim["spec"]["accessModes"] == ["ReadOnlyMany"]
    reference = volume["spec"]["claimRef"]
    assert (reference["namespace"], reference["name"], claim["spec"]["volumeName"]) == ("ns", name, name)
    assert (volume["spec"]["storageClassName"], claim["spec"]["storageClassName"]) == ("", "")
    assert claim["metadata"]["ownerReferences"][0]["uid"] == UID
    assert belongs_to(volume, UID)
    assert not belongs_to(volume, UID.replace("1", "2"))
    assert not static_volumes([mount(fileServers=[SERVER])], VolumeOwner("ns", names.LABEL_JOB, reference))


def test_under_pod_security_restricted_nfs_comes_by_a_claim() -> None:
    found = mount(replace(SERVERS, claims_only=True), fileServers=[SERVER])
    assert found.source == {"persistentVolumeClaim": {"claimName": f"batchai-{UID}-nfs-0"}}
    assert found.static is not None


def test_a_claim_is_one_volume_however_often_it_is_mounted() -> None:
    part = CLAIM | {"relativeMountPath": "b", "subPath": "sets/b", "readOnly": True}
    whole, below, other = job_mounts(
        volumes(persistentVolumeClaims=[CLAIM, part, CLAIM | {"claimName": "x.y", "relativeMountPath": "c"}]),
        "/root",
        SERVERS,
    )
    assert whole.volume == below.volume != other.volume
    assert below.volume_mount() == {
        "name": whole.volume,
        "mountPath": "/root/b",
        "mountPropagation": "HostToContainer",
        "subPath": "sets/b",
        "readOnly": True,
    }
    assert "subPath" not in whole.volume_mount()
    found = pod_volumes([whole, below, other])[2:]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in found] == ["training", "x.y"]
    V1Pod.model_validate({"spec": {"volumes": found, "containers": [{"name": "job"}]}})
    assert claim_names(volumes(persistentVolumeClaims=[CLAIM, part])) == {"training"}


def test_words_that_are_left_out_are_told_once() -> None:
    blob = BLOB | {"mountOptions": "-o big_writes -o ro"}
    assert dropped_options(volumes(azureBlobFileSystems=[blob, blob | {"relativeMountPath": "b"}])) == (
        "-o big_writes",
    )
    assert dropped_options(None) == ()


@pytest.mark.parametrize(
    ("lists", "field"),
    [
        (
            {"unmanagedFileSystems": [{"mountCommand": "mount -t x h:/x", "relativeMountPath": "x"}]},
            r"spec.mountVolumes.unmanagedFileSystems\[0\].mountCommand",
        ),
        (
            {"azureFileShares": [FILE | {"azureFileUrl": "https://acc.file.core.windows.net/"}]},
            "azureFileUrl",
        ),
        ({"azureBlobFileSystems": [BLOB, BLOB | {"mountOptions": "-o x"}]}, r"azureBlobFileSystems\[1\].mountOptions"),
        ({"fileServers": [SERVER | {"sourceDirectory": "a/../../b"}]}, r"fileServers\[0\].sourceDirectory"),
        ({"fileServers": [SERVER | {"mountOptions": "bind"}]}, r"fileServers\[0\].mountOptions"),
    ],
)
def test_what_cannot_be_mounted_is_named(lists: dict[str, object], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        job_mounts(volumes(**lists), "/root", SERVERS)
