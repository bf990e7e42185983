import pytest

from batchai.errors import SpecError
from batchai.storage.account import StorageAccount, parse_connection_string
from batchai.storage.directory import join


def test_endpoints_are_azures_unless_said_otherwise() -> None:
    account = StorageAccount("acc", "k", endpoints={"blob": "http://127.0.0.1:10000/acc"})
    assert account.endpoint("blob") == "http://127.0.0.1:10000/acc"
    assert account.endpoint("file") == "https://acc.file.core.windows.net"
    assert account.endpoint("file", "acc.file.core.chinacloudapi.cn") == "https://acc.file.core.chinacloudapi.cn"


def test_connection_string_of_azure() -> None:
    text = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a+/==;EndpointSuffix=core.windows.net"
    assert parse_connection_string(text) == StorageAccount("acc", "a+/==")


def test_connection_string_of_another_cloud() -> None:
    account = parse_connection_string("AccountName=acc;AccountKey=k;EndpointSuffix=core.usgovcloudapi.net")
    assert account.endpoint("blob") == "https://acc.blob.core.usgovcloudapi.net"


def test_connection_string_with_endpoints() -> None:
    account = parse_connection_string("AccountName=acc;AccountKey=k;FileEndpoint=http://127.0.0.1:31445/;")
    assert account.endpoints == {"file": "http://127.0.0.1:31445"}


def test_connection_string_without_an_account_is_not_repeated() -> None:
    with pytest.raises(SpecError, match="names no account") as caught:
        parse_connection_string("AccountKey=hush")
    assert "hush" not in str(caught.value)


def test_the_key_is_not_in_the_representation() -> None:
    assert "hush" not in repr(StorageAccount("acc", "hush", "hush"))


@pytest.mark.parametrize(("parts", "path"), [(("a/", "./b", ""), "a/b"), ((".",), ""), (("/a//b/",), "a/b"), ((), "")])
def test_join(parts: tuple[str, ...], path: str) -> None:
    assert join(*parts) == path
