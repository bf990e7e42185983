import base64

import pytest
from tests.unit.cli.fakes import Terminal

from batchai.cli import accounts
from batchai.cli.kube import SECRETS
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.storage.account import StorageAccount

CONNECTION = (
    "DefaultEndpointsProtocol=http;AccountName=acc;AccountKey=ab+/c==;"
    "BlobEndpoint=http://127.0.0.1:1/acc;FileEndpoint=http://127.0.0.1:2;"
)
ENDPOINTS = {"blob": "http://127.0.0.1:1/acc", "file": "http://127.0.0.1:2"}
VARIABLES = {
    "AZURE_BATCHAI_STORAGE_ACCOUNT": "acc",
    "AZURE_BATCHAI_STORAGE_KEY": "a2V5",
}


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def provide(terminal: Terminal, given: accounts.Given, **keys: str | None) -> dict[str, str]:
    return accounts.provide_all(terminal.session(), "ns", given, keys)


def decoded(terminal: Terminal, name: str) -> dict[str, str]:
    data = terminal.kube.one(SECRETS, name)["data"]
    return {entry: base64.b64decode(value).decode() for entry, value in data.items()}


def test_options_win_over_the_environment() -> None:
    given = accounts.given(VARIABLES, "acc", "option")
    assert given == accounts.Given("acc", {"acc": StorageAccount("acc", "option")})


def test_a_key_of_the_environment_belongs_to_the_account_of_the_environment() -> None:
    given = accounts.given(VARIABLES, "other")
    assert given == accounts.Given("other", {"acc": StorageAccount("acc", "a2V5")})
    alone = accounts.given({"AZURE_BATCHAI_STORAGE_KEY": "k"}, "other")
    assert alone.accounts == {"other": StorageAccount("other", "k")}


def test_a_connection_string_gives_account_key_and_endpoints() -> None:
    given = accounts.given({accounts.CONNECTION_VARIABLE: CONNECTION})
    assert given == accounts.Given("acc", {"acc": StorageAccount("acc", "ab+/c==", endpoints=ENDPOINTS)})
    both = accounts.given({**VARIABLES, accounts.CONNECTION_VARIABLE: CONNECTION})
    assert both.accounts["acc"] == StorageAccount("acc", "a2V5", endpoints=ENDPOINTS)


def test_a_key_without_an_account() -> None:
    with pytest.raises(UsageProblem, match="--storage-account-key has no account"):
        accounts.given({}, None, "k")


def test_keys_are_not_in_representations() -> None:
    assert "hush" not in repr(accounts.given({}, "acc", "hush"))


def test_a_given_key_is_kept_in_the_accounts_secret(terminal: Terminal) -> None:
    given = accounts.given({accounts.CONNECTION_VARIABLE: CONNECTION})
    assert provide(terminal, given, acc=None) == {"acc": "batchai-storage-acc"}
    secret = terminal.kube.one(SECRETS, "batchai-storage-acc")
    assert secret["metadata"]["labels"]["batchai.dev/storage-account"] == "acc"
    assert secret["metadata"]["annotations"] == {
        "batchai.dev/blob-endpoint": ENDPOINTS["blob"],
        "batchai.dev/file-endpoint": ENDPOINTS["file"],
    }
    assert decoded(terminal, "batchai-storage-acc") == {
        "azurestorageaccountname": "acc",
        "azurestorageaccountkey": "ab+/c==",
    }


def test_a_new_key_replaces_the_old_one(terminal: Terminal) -> None:
    provide(terminal, accounts.given({}, "acc", "old"), acc=None)
    provide(terminal, accounts.given({}, "acc", "new"), acc=None)
    assert decoded(terminal, "batchai-storage-acc")["azurestorageaccountkey"] == "new"
    assert "annotations" not in terminal.kube.one(SECRETS, "batchai-storage-acc")["metadata"]


def test_the_key_of_the_file_wins(terminal: Terminal) -> None:
    provide(terminal, accounts.given({}, "acc", "option"), acc="file")
    assert decoded(terminal, "batchai-storage-acc")["azurestorageaccountkey"] == "file"


def test_without_a_key_a_labelled_secret_serves(terminal: Terminal) -> None:
    labels = {"batchai.dev/storage-account": "acc"}
    terminal.kube.put(SECRETS, {"metadata": {"name": "mine", "namespace": "ns", "labels": labels}})
    assert provide(terminal, accounts.Given("acc"), acc=None) == {"acc": "mine"}
    terminal.kube.put(SECRETS, {"metadata": {"name": "batchai-storage-acc", "namespace": "ns", "labels": labels}})
    assert provide(terminal, accounts.Given("acc"), acc=None) == {"acc": "batchai-storage-acc"}


def test_without_any_key(terminal: Terminal) -> None:
    with pytest.raises(Problem, match="no key for storage account 'acc'") as caught:
        provide(terminal, accounts.Given("acc"), acc=None)
    assert "kubectl batchai storage add -g ns -n acc" in caught.value.hint


def test_a_token_takes_the_place_of_a_former_one_but_not_of_a_key(terminal: Terminal) -> None:
    """Others' jobs may need the key."""
    for token in ("?sv=1&sig=x", "sv=2&sig=y"):
        given = accounts.given({}, "acc", sas=token)
        assert given.accounts["acc"] == StorageAccount("acc", sas_token=token.removeprefix("?"))
        assert provide(terminal, given, acc=None) == {"acc": "batchai-storage-acc"}
        assert decoded(terminal, "batchai-storage-acc") == {
            "azurestorageaccountname": "acc",
            "azurestorageaccountsastoken": token.removeprefix("?"),
        }
    with_key = {"azurestorageaccountname": "acc", "azurestorageaccountkey": "key"}
    provide(terminal, accounts.given({}, "acc", "key"), acc=None)
    assert decoded(terminal, "batchai-storage-acc") == with_key
    assert provide(terminal, accounts.given({}, "acc", sas="sv=3"), acc=None) == {"acc": "batchai-storage-acc"}
    assert decoded(terminal, "batchai-storage-acc") == with_key
    assert terminal.said[-1].endswith("it is used, and not the token.")


def test_tokens_of_the_environment() -> None:
    variables = {accounts.ACCOUNT_VARIABLE: "acc", accounts.SAS_VARIABLE: "sv=1"}
    assert accounts.given(variables).accounts == {"acc": StorageAccount("acc", sas_token="sv=1")}
    connection = {accounts.CONNECTION_VARIABLE: "AccountName=acc;SharedAccessSignature=sv=1&sig=x=="}
    assert accounts.given(connection).accounts == {"acc": StorageAccount("acc", sas_token="sv=1&sig=x==")}
    # A key that is given wins over the token that the environment has.
    assert accounts.given(variables, "acc", "key").accounts == {"acc": StorageAccount("acc", "key")}


def test_a_key_and_a_token_exclude_each_other() -> None:
    with pytest.raises(UsageProblem, match="exclude each other"):
        accounts.given({}, "acc", "key", "sv=1")
    with pytest.raises(UsageProblem, match="--storage-account-sas has no account"):
        accounts.given({}, sas="sv=1")


def account_of(terminal: Terminal, **known: StorageAccount) -> StorageAccount:
    return accounts.account_of(terminal.session(), "ns", "acc", "s", known)


def put_secret(terminal: Terminal, annotations: dict[str, str] | None = None, **data: str) -> None:
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    metadata = {"name": "s", "namespace": "ns", "annotations": annotations}
    terminal.kube.put(SECRETS, {"metadata": metadata, "data": encoded})


def test_reading_takes_the_jobs_secret(terminal: Terminal) -> None:
    put_secret(terminal, {"batchai.dev/file-endpoint": "http://f"}, azurestorageaccountkey="k")
    assert account_of(terminal) == StorageAccount("acc", "k", endpoints={"file": "http://f"})


def test_reading_takes_a_sas_token(terminal: Terminal) -> None:
    put_secret(terminal, azurestorageaccountsastoken="?sv=1&sig=x")
    assert account_of(terminal) == StorageAccount("acc", None, "sv=1&sig=x")


def test_reading_prefers_the_environment(terminal: Terminal) -> None:
    given = StorageAccount("acc", "mine", endpoints={"file": "http://here"})
    assert account_of(terminal, acc=given) == given
    terminal.kube.forbidden.add(SECRETS)
    assert account_of(terminal, acc=StorageAccount("acc", "mine")) == StorageAccount("acc", "mine")


def test_reading_with_the_environments_key_at_the_secrets_endpoints(terminal: Terminal) -> None:
    put_secret(terminal, {"batchai.dev/blob-endpoint": "http://b"}, azurestorageaccountkey="k")
    account = account_of(terminal, acc=StorageAccount("acc", "mine"))
    assert account == StorageAccount("acc", "mine", endpoints={"blob": "http://b"})


def test_reading_without_a_secret(terminal: Terminal) -> None:
    with pytest.raises(NotFound, match="Secret 's' cannot be read in 'ns'"):
        account_of(terminal)
    put_secret(terminal)
    with pytest.raises(Problem, match="holds neither"):
        account_of(terminal)
