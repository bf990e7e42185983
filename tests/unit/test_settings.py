import pytest

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
