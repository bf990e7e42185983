import pytest
from tests.unit.builders import NOW

from batchai.api.mounts import MountVolumes
from batchai.status.mounts import OPTIONS_ADJUSTED, mount_problem, with_adjusted_options

SETUP = 'MountVolume.SetUp failed for volume "{}" : '
# As the drivers and the kubelet write them.
CIFS = (
    SETUP.format("azurefile-0")
    + "rpc error: code = Internal desc = volume(csi-1) mount //acc.file.core.windows.net/logs "
    "on /var/lib/kubelet/x failed with mount failed: exit status 32\nOutput: mount error({}): x"
)
BLOBFUSE = SETUP.format("blobfs-0") + "rpc error: code = Internal desc = Mount failed with error: {}"
SECRET = "rpc error: code = Internal desc = {}"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (CIFS.format(2), "AZFMountError", "the share logs does not exist in account acc"),
        (CIFS.format(13), "AZFMountError", "account acc refused the key"),
        (CIFS.format(115), "AZFMountError", "port 445"),
        (
            SETUP.format("azurefile-cluster1") + "could not find azurestorageaccountkey field in secret(x)",
            "AZFMountError",
            "cannot be mounted with a SAS token",
        ),
        (
            SETUP.format("azurefile-0") + "failed to get account name from csi-1",
            "AZFMountError",
            "azurestorageaccountname",
        ),
        (BLOBFUSE.format("ContainerNotFound"), "BFSMountError", "the container does not exist"),
        (
            BLOBFUSE.format("failed to authenticate credentials for azstorage"),
            "BFSMountError",
            "refused the key or the SAS",
        ),
        (BLOBFUSE.format('secrets "x" not found'), "BFSMountError", "its Secret does not exist"),
        (
            SETUP.format("nfs-0") + "mount: bad option; you might need a /sbin/mount.<type> helper program.",
            "MountError",
            "the node cannot mount NFS",
        ),
        (
            SETUP.format("batchai-0b5f1f0e-0000-4000-8000-000000000001-nfs-0") + "mount.nfs: access denied by server",
            "MountError",
            "the server does not export",
        ),
        (SETUP.format("vault-0") + "x", "KeyVaultError", "could not be read"),
    ],
)
def test_known_causes_have_a_hint(message: str, code: str, text: str) -> None:
    found_code, found_text = mount_problem(message)
    assert found_code == code
    assert text in found_text


@pytest.mark.parametrize("volume", ["pvc-0b5f1f0e", "ssh", "claim-ab12"])
def test_other_volumes_have_no_guess(volume: str) -> None:
    assert mount_problem(SETUP.format(volume) + "No such file or directory") == (
        "MountError",
        "A volume could not be mounted",
    )


def test_a_share_without_a_name_in_the_message() -> None:
    assert mount_problem(SETUP.format("azurefile-0") + "mount error(2)")[1].endswith(
        "the share does not exist in its account"
    )


def test_left_out_options_are_a_condition() -> None:
    blob = {"accountName": "acc", "containerName": "data", "relativeMountPath": "d", "mountOptions": "-o big_writes,ro"}
    volumes = MountVolumes.model_validate({"azureBlobFileSystems": [blob]})
    (condition,) = with_adjusted_options(None, volumes, NOW, 1)
    assert (condition.type, condition.status) == (OPTIONS_ADJUSTED, "True")
    assert condition.message.endswith(": -o big_writes")
    assert with_adjusted_options([condition], None, NOW, 1) == [condition]
    assert with_adjusted_options(None, volumes.model_copy(update={"azure_blob_file_systems": None}), NOW, 1) == []
