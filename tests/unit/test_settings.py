import pytest

from batchai.errors import SpecError
from batchai.plan.mounts import Endpoints
from batchai.plan.vaults import VaultIdentity
from batchai.settings import Settings

NEEDED = {
    "BATCHAI_LAUNCHER_IMAGE": "launcher:1",
    "BATCHAI_DEFAULT_IMAGE": "base:1",
    "BATCHAI_DEFAULT_IMAGE_CNTK": "cntk:1",
    "POD_NAMESPACE": "ns",
    "POD_NAME": "operator-1",
}
TENANT, CLIENT = "BATCHAI_KEY_VAULT_TENANT_ID", "BATCHAI_KEY_VAULT_CLIENT_ID"


@pytest.mark.parametrize(
    ("given", "identity"),
    [
        ({}, None),
        ({TENANT: "", CLIENT: ""}, None),
        ({TENANT: "t"}, None),
        ({CLIENT: "c"}, None),
        ({TENANT: "t", CLIENT: "c"}, VaultIdentity("t", "c")),
    ],
)
def test_vaults_are_read_by_a_tenant_and_a_client(given: dict[str, str], identity: VaultIdentity | None) -> None:
    assert Settings.from_environment(NEEDED | given).vault_identity == identity


def test_what_an_installation_may_choose() -> None:
    given = {
        "BATCHAI_CLUSTERS_PER_NAMESPACE": "20",
        "BATCHAI_VM_IMAGES": '{"Linux-DSVM": {"cntkSettings": "cntk:2"}}',
    }
    settings = Settings.from_environment(NEEDED | given)
    assert settings.clusters_per_namespace == 20
    assert settings.vm_images == {"linux-dsvm": {"cntkSettings": "cntk:2"}}
    assert Settings.from_environment(NEEDED).clusters_per_namespace is None


def test_mount_commands_run_in_the_namespaces_that_are_named() -> None:
    namespaces = {"BATCHAI_MOUNT_COMMAND_NAMESPACES": "team-a, team-b"}
    settings = Settings.from_environment(NEEDED | namespaces)
    assert [settings.mount_command_image_of(name) for name in ("team-a", "team-b", "team", "")] == [
        "launcher:1",
        "launcher:1",
        None,
        None,
    ]
    own = Settings.from_environment(NEEDED | namespaces | {"BATCHAI_MOUNT_COMMAND_IMAGE": "tools:1"})
    assert own.mount_command_image_of("team-a") == "tools:1"
    assert Settings.from_environment(NEEDED).mount_command_image_of("") is None


def test_storage_accounts_of_other_endpoints() -> None:
    given = {
        "BATCHAI_STORAGE_ENDPOINT_SUFFIX": "core.chinacloudapi.cn",
        "BATCHAI_STORAGE_SERVERS": '{"dev": {"blob": "http://10.0.0.1:10000/dev"}, "old": {"file": "filer"}}',
    }
    endpoints = Settings.from_environment(NEEDED | given).endpoints
    assert endpoints == Endpoints("core.chinacloudapi.cn", {"old": "filer"}, {"dev": "http://10.0.0.1:10000/dev"})
    empty = {"BATCHAI_STORAGE_ENDPOINT_SUFFIX": "", "BATCHAI_STORAGE_SERVERS": ""}
    assert Settings.from_environment(NEEDED | empty).endpoints == Endpoints("core.windows.net", {}, {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BATCHAI_CLUSTERS_PER_NAMESPACE", "many"),
        ("BATCHAI_VM_IMAGES", "cntk:2"),
        ("BATCHAI_VM_IMAGES", '{"a": 1}'),
        ("BATCHAI_STORAGE_SERVERS", "dev"),
        ("BATCHAI_STORAGE_SERVERS", "[]"),
        ("BATCHAI_STORAGE_SERVERS", '{"a": "b"}'),
        ("BATCHAI_STORAGE_SERVERS", '{"a": {"queue": "b"}}'),
    ],
)
def test_what_cannot_be_read_is_named(name: str, text: str) -> None:
    with pytest.raises(SpecError, match=name):
        Settings.from_environment(NEEDED | {name: text})
