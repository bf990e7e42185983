"""The two directories over the real SDKs, against a read-only stand-in for both services on loopback.

It checks no signatures; the end-to-end tests read from servers that do.
"""

import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from batchai.errors import StorageError
from batchai.plan.directories import StorageLocation
from batchai.storage import failures, open_directory
from batchai.storage.account import StorageAccount
from batchai.storage.directory import Directory, Entry

MODIFIED = datetime(2018, 4, 11, 22, 5, 51, tzinfo=UTC)
EXPIRY = datetime(2030, 1, 1, tzinfo=UTC)
FILES = {
    "out/ä b+c%.txt": bytes(range(256)) * 8,
    "out/empty": b"",
    "out/sub/deep.txt": b"deep",
    "other/x": b"x",
}
KEY = "a2V5"


class Handler(BaseHTTPRequestHandler):
    """`/share/path` is a file share, `/acc/container/path` a container; both hold FILES."""

    failure: int | None = None
    page = 5000
    pages: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path).strip("/")
        blob = path.startswith("acc/")
        path = path.removeprefix("acc/").partition("/")[2]
        if self.failure:
            code = "AuthenticationFailed" if self.failure == 403 else "ServerBusy"
            self.answer(self.failure, {"x-ms-error-code": code, "Retry-After": "7"})
        elif query.get("comp") == "list":
            self.list(query.get("prefix", "") if blob else f"{path}/", query.get("marker", ""), blob=blob)
        elif path in FILES:
            self.file(FILES[path])
        else:
            self.answer(404, {"x-ms-error-code": "ResourceNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the name that the library calls

    def list(self, prefix: str, marker: str, *, blob: bool) -> None:
        self.pages.append(marker)
        names = sorted(name for name in FILES if name.startswith(prefix) and name >= marker)
        below = {name.removeprefix(prefix): FILES[name] for name in names[: self.page]}
        following = "".join(names[self.page : self.page + 1])
        if not below and not blob:
            self.answer(404, {"x-ms-error-code": "ResourceNotFound"})
            return
        folders = {name.split("/")[0] for name in below if "/" in name}
        files = {name: data for name, data in below.items() if "/" not in name}
        modified = f"<Last-Modified>{format_datetime(MODIFIED, usegmt=True)}</Last-Modified>"
        sizes = {
            name: f"<Content-Length>{len(data)}</Content-Length><BlobType>BlockBlob</BlobType>{modified}"
            for name, data in files.items()
        }
        if blob:
            marked = "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata>"
            items = [f"<BlobPrefix><Name>{prefix}{name}/</Name></BlobPrefix>" for name in folders]
            items += [
                f"<Blob><Name>{prefix}{name}</Name><Properties><Content-Length>0</Content-Length>"
                f"<BlobType>BlockBlob</BlobType></Properties>{marked}</Blob>"
                for name in folders
            ]
            items += [
                f"<Blob><Name>{escape(prefix + name)}</Name><Properties>{size}</Properties></Blob>"
                for name, size in sizes.items()
            ]
            body = f"<Prefix>{prefix}</Prefix><Blobs>{''.join(items)}</Blobs>"
        else:
            items = [f"<Directory><Name>{name}</Name><Properties/></Directory>" for name in folders]
            items += [
                f"<File><Name>{escape(name)}</Name><Properties>{size}</Properties></File>"
                for name, size in sizes.items()
            ]
            body = f"<Entries>{''.join(items)}</Entries>"
        text = f"<EnumerationResults>{body}<NextMarker>{following}</NextMarker></EnumerationResults>"
        self.answer(200, {"Content-Type": "application/xml"}, text.encode())

    def file(self, data: bytes) -> None:
        wanted = self.headers.get("x-ms-range") or self.headers.get("Range")
        common = {"Last-Modified": format_datetime(MODIFIED, usegmt=True), "ETag": '"1"', "x-ms-type": "File"}
        if wanted is None:
            self.answer(200, common, data)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data)), len(data) - 1)
        if start >= len(data):
            self.answer(416, {"x-ms-error-code": "InvalidRange"})
            return
        place = {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        self.answer(206, {**common, **place}, data[start : end + 1])

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "failure", None)
    monkeypatch.setitem(failures.CLIENT_OPTIONS, "retry_total", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


Open = Callable[[str], Directory]


@pytest.fixture(params=["file", "blob"])
def opened(request: pytest.FixtureRequest, endpoint: str) -> Iterator[Open]:
    with_close: list[closing[Directory]] = []

    def open_at(path: str, **credentials: str) -> Directory:
        endpoints = {"file": endpoint, "blob": f"{endpoint}/acc"}
        account = StorageAccount("acc", **(credentials or {"key": KEY}), endpoints=endpoints)
        location = StorageLocation(request.param, "acc", "box", path, "s")
        with_close.append(closing(open_directory(location, account)))
        return with_close[-1].thing

    yield open_at
    for directory in with_close:
        directory.thing.close()


def test_entries(opened: Open) -> None:
    assert opened("out").entries("") == [
        Entry("empty", is_directory=False, size=0, modified=MODIFIED),
        Entry("sub", is_directory=True),
        Entry("ä b+c%.txt", is_directory=False, size=2048, modified=MODIFIED),
    ]
    assert [entry.name for entry in opened("").entries("out/sub")] == ["deep.txt"]


def test_a_folder_that_does_not_exist(opened: Open) -> None:
    with pytest.raises(StorageError, match="'box/out/none'") as caught:
        opened("out").entries("none")
    assert caught.value.not_found


def test_find(opened: Open) -> None:
    directory = opened("out")
    for name, size in (("ä b+c%.txt", 2048), ("empty", 0)):
        entry = directory.find(name)
        assert entry is not None
        assert entry.size == size
    assert opened("out").find("none") is None


def test_ranges(opened: Open) -> None:
    directory, data = opened("out"), FILES["out/ä b+c%.txt"]
    assert directory.read("ä b+c%.txt", 0, 1 << 20) == data
    assert directory.read("ä b+c%.txt", 255, 3) == data[255:258]
    assert directory.read("ä b+c%.txt", 2047, 10) == data[2047:]
    assert directory.read("ä b+c%.txt", 2048, 10) == b""
    assert directory.read("empty", 0, 10) == b""


def test_a_url_downloads(opened: Open) -> None:
    url = opened("out").url("ä b+c%.txt", EXPIRY)
    query = parse_qs(urlsplit(url).query)
    assert query["sp"] == ["r"]
    assert query["se"] == ["2030-01-01T00:00:00Z"]
    assert "spr" not in query  # plain HTTP stays allowed where the endpoint is plain HTTP
    assert urllib.request.urlopen(url).read() == FILES["out/ä b+c%.txt"]


def test_the_token_of_an_account_stands_in_no_url(opened: Open) -> None:
    directory = opened("out", sas_token="sv=2020-01-01&sig=abc")  # type: ignore[call-arg]
    assert directory.url("empty", EXPIRY) is None


@pytest.mark.parametrize("kind", ["file", "blob"])
def test_urls_of_azure_need_https(kind: Any) -> None:
    location = StorageLocation(kind, "acc", "box", "out", "s")
    with closing(open_directory(location, StorageAccount("acc", KEY))) as directory:
        url = directory.url("a", datetime.now(UTC) + timedelta(hours=1))
    assert url.startswith(f"https://acc.{kind}.core.windows.net/box/out/a?")
    assert parse_qs(urlsplit(url).query)["spr"] == ["https"]


def test_a_refused_key_is_said_so(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "failure", 403)
    for ask in (lambda d: d.find("x"), lambda d: d.entries(""), lambda d: d.read("x", 0, 1)):
        with pytest.raises(StorageError, match="'acc' does not accept the key: AuthenticationFailed") as caught:
            ask(opened("out"))
        assert KEY not in str(caught.value)


def test_a_server_error(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "failure", 503)
    with pytest.raises(StorageError, match=r"refused 'box/out': ServerBusy \(HTTP 503\)") as caught:
        opened("out").entries("")
    assert (caught.value.retry_after, caught.value.denied) == (7, False)


def test_a_sas_token_that_has_expired(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "failure", 403)
    token = "sv=2020-01-01&se=2026-01-01T00%3A00%3A00Z&sig=hush"
    directory = opened("out", sas_token=token)  # type: ignore[call-arg]
    with pytest.raises(StorageError, match="the SAS token, which is valid until 2026-01-01T00:00:00Z: Auth") as caught:
        directory.read("empty", 0, 1)
    assert caught.value.denied
    assert "hush" not in str(caught.value)


def test_a_directory_of_many_files_comes_in_pages(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"many/{number:03}": b"x" for number in range(25)}
    monkeypatch.setattr(Handler, "page", 10)
    monkeypatch.setattr(Handler, "pages", [])
    for name, content in many.items():
        monkeypatch.setitem(FILES, name, content)
    assert [entry.name for entry in opened("many").entries("")] == [f"{number:03}" for number in range(25)]
    assert len(Handler.pages) == 3


@pytest.mark.parametrize("kind", ["file", "blob"])
def test_an_endpoint_out_of_reach_is_named(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(failures.CLIENT_OPTIONS, "retry_total", 0)
    account = StorageAccount("acc", KEY, endpoints={kind: "http://127.0.0.1:1"})
    location = StorageLocation(kind, "acc", "box", "out", "s")
    with (
        closing(open_directory(location, account)) as directory,
        pytest.raises(StorageError, match=r"http://127.0.0.1:1 of storage account 'acc' cannot be reached"),
    ):
        directory.find("x")
