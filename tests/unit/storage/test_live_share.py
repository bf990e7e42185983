"""A share of the Files server of tests/azure, which checks signatures, while somebody writes to its directory."""

import base64
import io
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from batchai.cli.follow import Follower
from batchai.errors import StorageError
from batchai.plan.directories import StorageLocation
from batchai.storage import open_directory
from batchai.storage.account import StorageAccount
from batchai.storage.directory import Directory

AZURE = Path(__file__).parents[2] / "azure"
KEY = base64.b64encode(secrets.token_bytes(32)).decode()


def download(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        return bytes(response.read())


@dataclass
class Share:
    """The share `logs` as clients see it, and its directory as a node mounts it."""

    folder: Path
    endpoint: str

    def open(self, key: str = KEY) -> "closing[Directory]":
        account = StorageAccount("acc", key, endpoints={"file": self.endpoint})
        return closing(open_directory(StorageLocation("file", "acc", "logs", "a b", "s"), account))


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Share]:
    root = tmp_path_factory.mktemp("shares")
    folder = root / "logs" / "a b"
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {"AZURE_ACCOUNT_NAME": "acc", "AZURE_ACCOUNT_KEY": KEY, "PYTHONPATH": str(AZURE)}
    command = [sys.executable, "-m", "files", str(root), str(port)]
    with subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL) as server:
        share = Share(folder, f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 20
        while True:
            try:
                download(f"{share.endpoint}/healthz")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield share
        server.terminate()


class Silent:
    def missing(self) -> None:
        pass

    def found(self) -> None:
        pass

    def restarted(self) -> None:
        raise AssertionError


def test_a_signed_url_downloads_and_a_forged_one_does_not(share: Share) -> None:
    (share.folder / "ä +%.dnn").write_bytes(b"model")
    with share.open() as directory:
        [entry] = directory.entries("")
        assert (entry.name, entry.size) == ("ä +%.dnn", 5)
        assert entry.modified
        assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=1)
        url = directory.url(entry.name, datetime.now(UTC) + timedelta(minutes=5))
        late = directory.url(entry.name, datetime.now(UTC) - timedelta(minutes=5))
    assert download(url) == b"model"
    for refused in (late, url.replace("sp=r", "sp=rw")):
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            download(refused)
        caught.value.close()


def test_a_wrong_key_is_said_so(share: Share) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    with share.open(wrong) as directory, pytest.raises(StorageError, match="does not accept the key") as caught:
        directory.entries("")
    assert wrong not in str(caught.value)


def test_following_a_writer_misses_no_byte(share: Share) -> None:
    path, over = share.folder / "stdout.txt", threading.Event()
    written = [os.urandom(size) for size in (1, 0, 5000, 3, 2 << 20, 17, 4096, 1)]

    def write() -> None:
        with path.open("wb") as file:
            for piece in written:
                file.write(piece)
                file.flush()
                time.sleep(0.02)
            file.write(b"last words")
        over.set()

    out = io.BytesIO()
    writer = threading.Thread(target=write)
    with share.open() as directory:
        writer.start()
        Follower(directory, "stdout.txt", out, Silent()).follow(over.is_set, lambda: time.sleep(0.01), quiet=1)
        writer.join()
    assert out.getvalue() == b"".join(written) + b"last words"
