import pytest

from batchai.api.mounts import MountVolumes
from batchai.errors import SpecError
from batchai.plan.mounts import blob_options, job_mounts, secret_names


def volumes(**lists):
    return MountVolumes.model_validate(lists)


FILE = {"azureFileUrl": "https://acc.file.core.windows.net/logs", "relativeMountPath": "logs"}
BLOB = {"accountName": "acc", "containerName": "data", "relativeMountPath": "data"}


def test_file_share_becomes_an_inline_volume() -> None:
    (mount,) = job_mounts(volumes(azureFileShares=[FILE]), "/root")
    source = mount.pod_volume()["csi"]
    assert source["driver"] == "file.csi.azure.com"
    attributes = source["volumeAttributes"]
    assert attributes["shareName"] == "logs"
    assert attributes["secretName"] == "batchai-storage-acc"
    assert attributes["mountOptions"].startswith("file_mode=0777,dir_mode=0777,")
    assert "server" not in attributes
    assert mount.volume_mount()["mountPath"] == "/root/logs"


def test_another_cloud_is_named_as_the_server() -> None:
    share = FILE | {"azureFileUrl": "https://acc.file.core.chinacloudapi.cn/logs"}
    (mount,) = job_mounts(volumes(azureFileShares=[share]), "/root")
    assert mount.source["csi"]["volumeAttributes"]["server"] == "acc.file.core.chinacloudapi.cn"


def test_blob_container_becomes_an_inline_volume_of_blobfuse2() -> None:
    blob = BLOB | {"credentials": {"secretRef": {"name": "mine"}}}
    (mount,) = job_mounts(volumes(azureBlobFileSystems=[blob]), "/root")
    attributes = mount.source["csi"]["volumeAttributes"]
    assert (attributes["protocol"], attributes["containerName"], attributes["secretName"]) == (
        "fuse2",
        "data",
        "mine",
    )


def test_secrets_are_named_once() -> None:
    both = volumes(azureFileShares=[FILE, FILE | {"relativeMountPath": "b"}], azureBlobFileSystems=[BLOB])
    assert secret_names(both) == ("batchai-storage-acc",)
    assert secret_names(None) == ()


def test_old_blobfuse_options_are_translated() -> None:
    old = (
        "--use-https=true -o big_writes -o max_read=131072 -o max_write=131072 -o attr_timeout=240 "
        "-o fsname=blobfuse -o kernel_cache -o entry_timeout=240 -o negative_timeout=120 -o allow_other"
    )
    assert blob_options(old) == (
        "-o attr_timeout=240",
        "-o entry_timeout=240",
        "-o negative_timeout=120",
        "-o allow_other",
    )
    assert blob_options("-o allow_other,ro --file-cache-timeout-in-seconds=120 --tmp-path=/x") == (
        "-o allow_other",
        "-o ro",
        "--file-cache-timeout-in-seconds=120",
    )
    assert blob_options("  ") == blob_options(None)


@pytest.mark.parametrize(
    ("lists", "field"),
    [
        (
            {"unmanagedFileSystems": [{"mountCommand": "mount -t x", "relativeMountPath": "x"}]},
            "unmanagedFileSystems",
        ),
        (
            {"azureFileShares": [FILE | {"azureFileUrl": "https://acc.file.core.windows.net/"}]},
            "azureFileUrl",
        ),
        ({"azureBlobFileSystems": [BLOB | {"mountOptions": "-o 'x"}]}, "mountOptions"),
    ],
)
def test_what_cannot_be_mounted_is_named(lists: dict[str, object], field: str) -> None:
    with pytest.raises(SpecError, match=field):
        job_mounts(volumes(**lists), "/root")
