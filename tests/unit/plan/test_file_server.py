import re
from typing import Any

import pytest

from batchai.api.fileserver import FileServer
from batchai.errors import SpecError
from batchai.plan import file_server
from batchai.plan.naming import file_server_name

KEY = "ssh-ed25519 AAAA me"


def server(name: str = "nfs", allowed: list[str] | None = None, key: str | None = KEY, **spec: Any) -> FileServer:
    account = {"adminUserName": "me", **({"adminUserSshPublicKey": key} if key else {})}
    access = {"userAccountSettings": account, **({"publicIPsToAllow": allowed} if allowed else {})}
    return FileServer.model_validate(
        {
            "metadata": {"name": name, "namespace": "ns", "uid": "u-1", "generation": 1},
            "spec": {
                "workspace": "work",
                "vmSize": "standard_d2",
                "sshConfiguration": access,
                "dataDisks": {"diskCount": 3, "diskSizeInGB": 10, "storageAccountType": "Premium_LRS"},
                **spec,
            },
        }
    )


def plan(server: FileServer, storage_class: str | None = None) -> dict[str, Any]:
    return file_server.stateful_set(server, "image:1", storage_class)


def test_the_disks_are_one_claim_of_their_sum() -> None:
    (claim,) = plan(server())["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "30Gi"}}}
    (claim,) = plan(server(), "fast")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert file_server.claim_name("nfs") == "data-fileserver-nfs-0"


def test_sizes_of_claims_are_read_as_kubernetes_keeps_them() -> None:
    assert [file_server.in_gb(size) for size in ("30Gi", "1Ti", "10G", "1.5Gi", "")] == [30, 1024, None, None, None]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_the_claim_goes_with_the_server_only_if_that_is_asked_for(policy: str) -> None:
    retention = plan(server(reclaimPolicy=policy))["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert retention == {"whenDeleted": policy, "whenScaled": "Retain"}


def test_everything_belongs_to_the_server_and_finds_its_pod() -> None:
    asked = server(allowed=["*"])
    objects = [file_server.service(asked), file_server.public_service(asked), plan(asked)]
    for item in objects:
        assert item is not None
        (owner,) = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("FileServer", "u-1")
    labels = plan(asked)["spec"]["template"]["metadata"]["labels"]
    assert labels["batchai.dev/file-server"] == "nfs"
    assert all(item["spec"]["selector"] == labels for item in objects[:2] if item)


def test_without_a_key_there_is_no_ssh() -> None:
    (container,) = plan(server(key=None))["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "nfs"
    assert [port["port"] for port in file_server.service(server(key=None))["spec"]["ports"]] == [2049]
    assert file_server.public_service(server(key=None, allowed=["*"])) is None
    _, ssh = plan(server())["spec"]["template"]["spec"]["containers"]
    assert {item["name"]: item["value"] for item in ssh["env"]} == {"ADMIN_USER": "me", "ADMIN_KEY": KEY}


def test_no_container_is_privileged() -> None:
    for container in plan(server())["spec"]["template"]["spec"]["containers"]:
        security = container["securityContext"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert "SYS_ADMIN" not in security["capabilities"]["add"]
        assert security["allowPrivilegeEscalation"] is False
        assert "privileged" not in security


def test_only_the_addresses_that_are_named_come_in_from_outside() -> None:
    assert file_server.public_service(server()) is None
    everybody = file_server.public_service(server(allowed=["*"]))
    assert everybody is not None
    assert "loadBalancerSourceRanges" not in everybody["spec"]
    some = file_server.public_service(server(allowed=["203.0.113.7", "198.51.100.0/24"]))
    assert some is not None
    assert some["spec"]["loadBalancerSourceRanges"] == ["203.0.113.7/32", "198.51.100.0/24"]
    assert [port["port"] for port in some["spec"]["ports"]] == [22]
    with pytest.raises(SpecError, match=r"publicIPsToAllow\[1\]: '300.1.1.1'"):
        file_server.public_service(server(allowed=["203.0.113.7", "300.1.1.1"]))


def test_the_fingerprint_changes_with_the_plan_alone() -> None:
    def fingerprint(**spec: Any) -> str:
        value: str = plan(server(**spec))["metadata"]["annotations"]["batchai.dev/plan"]
        return value

    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(reclaimPolicy="Delete")


def test_nobody_comes_in_as_root() -> None:
    access = {"userAccountSettings": {"adminUserName": "root", "adminUserSshPublicKey": "ssh-rsa AAAA"}}
    with pytest.raises(SpecError, match="adminUserName: may not be root"):
        plan(server(sshConfiguration=access))


def test_names_are_those_of_services() -> None:
    assert file_server_name("nfs-v1") == "fileserver-nfs-v1"
    assert re.fullmatch("fileserver-nfs-v1-[0-9a-f]{6}", file_server_name("nfs.v1"))
    assert file_server_name("nfs.v1") != file_server_name("nfs.v.1")


def test_long_names_are_cut_and_stay_different() -> None:
    first, second = (file_server_name("n" * 60 + end) for end in "ab")
    assert first != second
    assert max(len(first), len(second)) <= 50
