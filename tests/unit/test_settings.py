import pytest

from batchai.errors import SpecError
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


@pytest.mark.parametrize(
    ("name", "text"),
    [("BATCHAI_CLUSTERS_PER_NAMESPACE", "many"), ("BATCHAI_VM_IMAGES", "cntk:2"), ("BATCHAI_VM_IMAGES", '{"a": 1}')],
)
def test_what_cannot_be_read_is_named(name: str, text: str) -> None:
    with pytest.raises(SpecError, match=name):
        Settings.from_environment(NEEDED | {name: text})
