"""The Files stand-in with the real SDK as its client, on loopback."""

import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.fileshare import (
    AccountSasPermissions,
    FileSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_file_sas,
)
from azure.storage.fileshare.aio import ShareServiceClient

sys.path.insert(0, str(Path(__file__).parents[2] / "azure"))

from files.auth import Account
from files.server import application

ACCOUNT = Account("tester", "a2V5LW9mLXRoZS10ZXN0cy1vbmx5")


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[str]:
    runner = web.AppRunner(application(tmp_path / "shares", ACCOUNT))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def service(endpoint: str) -> AsyncIterator[ShareServiceClient]:
    credential = {"account_name": ACCOUNT.name, "account_key": ACCOUNT.key}
    async with ShareServiceClient(endpoint, credential=credential) as client:
        yield client


async def test_shares(service: ShareServiceClient) -> None:
    share = await service.create_share("logs")
    with pytest.raises(ResourceExistsError):
        await service.create_share("logs")
    assert [item.name async for item in service.list_shares()] == ["logs"]
    await share.get_share_properties()
    await share.delete_share()
    with pytest.raises(ResourceNotFoundError):
        await share.get_share_properties()


async def test_directories_and_files(service: ShareServiceClient) -> None:
    share = await service.create_share("logs")
    with pytest.raises(ResourceNotFoundError):
        await share.create_directory("a/b")
    await share.create_directory("a")
    directory = await share.create_directory("a/b ü")
    data = bytes(range(256)) * 2_000
    await directory.upload_file("x ü.bin", data)
    await directory.create_subdirectory("sub")
    items = {item.name: item async for item in directory.list_directories_and_files(include=["timestamps", "ETag"])}
    assert set(items) == {"x ü.bin", "sub"}
    assert items["x ü.bin"].size == len(data)
    assert items["x ü.bin"].last_modified is not None
    assert items["sub"].is_directory
    file = directory.get_file_client("x ü.bin")
    assert await (await file.download_file()).readall() == data
    assert await (await file.download_file(offset=300, length=10)).readall() == data[300:310]
    assert (await file.get_file_properties()).size == len(data)
    with pytest.raises(HttpResponseError) as error:
        await file.download_file(offset=len(data))
    assert error.value.status_code == 416
    with pytest.raises(ResourceExistsError):
        await share.delete_directory("a")
    await file.delete_file()
    with pytest.raises(ResourceNotFoundError):
        await file.get_file_properties()


async def test_listing_pages(service: ShareServiceClient) -> None:
    share = await service.create_share("many")
    for index in range(7):
        await share.get_file_client(f"f{index}").create_file(0)
    root = share.get_directory_client("")
    pages = [
        [item.name async for item in page]
        async for page in root.list_directories_and_files(results_per_page=3).by_page()
    ]
    assert pages[0] == ["f0", "f1", "f2"]
    assert [name for page in pages for name in page] == [f"f{index}" for index in range(7)]


async def test_an_append_through_the_file_system_is_seen_at_once(service: ShareServiceClient, tmp_path: Path) -> None:
    share = await service.create_share("logs")
    (tmp_path / "shares" / "logs" / "out.txt").write_bytes(b"first\n")
    file = share.get_file_client("out.txt")
    assert await (await file.download_file()).readall() == b"first\n"
    with (tmp_path / "shares" / "logs" / "out.txt").open("ab") as stream:
        stream.write(b"second\n")
    assert await (await file.download_file(offset=6)).readall() == b"second\n"


async def test_a_wrong_key_is_refused(service: ShareServiceClient, endpoint: str) -> None:
    await service.create_share("logs")
    credential = {"account_name": ACCOUNT.name, "account_key": "d3Jvbmc="}
    async with ShareServiceClient(endpoint, credential=credential) as stranger:
        with pytest.raises(HttpResponseError) as error:
            await stranger.get_share_client("logs").get_share_properties()
    assert error.value.status_code == 403


def _sas(until: timedelta, permission: str = "r") -> str:
    return generate_file_sas(
        ACCOUNT.name,
        "logs",
        ["d", "f"],
        ACCOUNT.key,
        permission=FileSasPermissions.from_string(permission),
        expiry=datetime.now(UTC) + until,
    )


@pytest.mark.parametrize(
    ("sas", "status"),
    [
        (_sas(timedelta(minutes=5)), 206),
        (_sas(timedelta(seconds=-5)), 403),
        (_sas(timedelta(minutes=5), "w"), 403),
        (_sas(timedelta(minutes=5)).replace("sig=", "sig=x"), 403),
        ("", 403),
    ],
)
async def test_sas(service: ShareServiceClient, endpoint: str, sas: str, status: int) -> None:
    share = await service.create_share("logs")
    await share.create_directory("d")
    await share.get_directory_client("d").upload_file("f", b"0123456789")

    def fetch() -> int:
        request = urllib.request.Request(f"{endpoint}/logs/d/f?{sas}", headers={"Range": "bytes=2-4"})
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                assert response.read() == b"234"
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    import asyncio

    assert await asyncio.to_thread(fetch) == status


def account_sas(permission: str = "rl", **types: bool) -> str:
    return generate_account_sas(
        ACCOUNT.name,
        ACCOUNT.key,
        ResourceTypes(**types),
        AccountSasPermissions.from_string(permission),
        datetime.now(UTC) + timedelta(minutes=5),
    )


async def test_an_account_sas_allows_what_it_says(service: ShareServiceClient, endpoint: str) -> None:
    share = await service.create_share("logs")
    await share.get_directory_client("").upload_file("f", b"data")
    async with ShareServiceClient(endpoint, credential=account_sas(container=True, object=True)) as guest:
        theirs = guest.get_share_client("logs")
        assert [item.name async for item in theirs.list_directories_and_files()] == ["f"]
        assert await (await theirs.get_file_client("f").download_file()).readall() == b"data"
        with pytest.raises(HttpResponseError) as error:
            await theirs.get_file_client("f").delete_file()
        assert error.value.error_code == "AuthorizationPermissionMismatch"
    async with ShareServiceClient(endpoint, credential=account_sas(object=True)) as guest:
        with pytest.raises(HttpResponseError) as error:
            await guest.get_share_client("logs").get_share_properties()
        assert error.value.error_code == "AuthorizationResourceTypeMismatch"
    forged = account_sas(container=True, object=True).replace("sp=rl", "sp=rld")
    async with ShareServiceClient(endpoint, credential=forged) as guest:
        with pytest.raises(HttpResponseError) as error:
            await guest.get_share_client("logs").get_share_properties()
        assert error.value.error_code == "AuthenticationFailed"


async def test_a_busy_server_says_when_to_come_again(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "shares" / ".busy").write_text("2")
    answers = []
    async with ClientSession() as session:
        for _ in range(3):
            async with session.get(f"{endpoint}/logs") as response:
                answers.append((response.status, response.headers.get("Retry-After")))
    assert answers == [(503, "1"), (503, "1"), (403, None)]
