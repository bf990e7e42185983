"""`job file download` against a storage in memory."""

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.fakes import MODIFIED, FakeStorage, Terminal
from tests.unit.cli.test_explanation import job

from batchai.cli import download
from batchai.cli.kube import JOBS
from batchai.cli.problems import NotFound, Problem
from batchai.errors import StorageError

COMMAND = "job file download -j j_1 -g ns -w w -e e"


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def terminal(storage: FakeStorage) -> Terminal:
    terminal = Terminal(
        storage=storage, environ={"AZURE_BATCHAI_STORAGE_ACCOUNT": "acc", "AZURE_BATCHAI_STORAGE_KEY": "a2V5"}
    )
    terminal.kube.put(JOBS, job({"executionState": "running"}))
    return terminal


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_all_in_it(terminal: Terminal, storage: FakeStorage, tmp_path: Path) -> None:
    storage.files = {"a b": b"1\xff", "deep/er/x": b"22", "deep/y": b""}
    listed = terminal.run(f"{COMMAND} -t {tmp_path}/new")
    assert contents(tmp_path / "new") == {"a b": b"1\xff", "deep/er/x": b"22", "deep/y": b""}
    assert [(each["name"], each["contentLength"]) for each in listed] == [("deep/er/x", 2), ("deep/y", 0), ("a b", 2)]
    assert (tmp_path / "new/a b").stat().st_mtime == MODIFIED.timestamp()


def test_one_file(terminal: Terminal, storage: FakeStorage, tmp_path: Path) -> None:
    storage.files = {"deep/x": b"1", "deep/y": b"2"}
    terminal.run(f"{COMMAND} -t {tmp_path} -p deep -f y")
    assert contents(tmp_path) == {"y": b"2"}
    with pytest.raises(NotFound, match='The file "deep/z" not found'):
        terminal.run(f"{COMMAND} -t {tmp_path} -p deep -f z")


@pytest.fixture
def reads(storage: FakeStorage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is read, in chunks of four bytes."""
    done: list[tuple[str, int, int]] = []
    read = storage.read

    def note(path: str, offset: int, length: int) -> bytes:
        done.append((path, offset, length))
        return read(path, offset, length)

    monkeypatch.setattr(storage, "read", note)
    monkeypatch.setattr(download, "CHUNK", 4)
    return done


def test_it_goes_on_where_it_was_broken_off(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, reads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"done": b"xyz", "m": b"0123456789"}
    read = storage.read

    def fail(path: str, offset: int, length: int) -> bytes:
        if offset == 8:
            raise StorageError("gone", not_found=True)
        return read(path, offset, length)

    monkeypatch.setattr(storage, "read", fail)
    with pytest.raises(StorageError):
        terminal.run(f"{COMMAND} -t {tmp_path}")
    [part] = tmp_path.glob("m.*.part")
    assert part.read_bytes() == b"01234567"
    monkeypatch.setattr(storage, "read", read)
    reads.clear()
    terminal.run(f"{COMMAND} -t {tmp_path}")
    assert reads == [("m", 8, 2)]
    assert contents(tmp_path) == {"done": b"xyz", "m": b"0123456789"}


def test_a_part_of_another_version_is_not_used(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, reads: Any
) -> None:
    storage.files = {"m": b"new"}
    (tmp_path / "m.00000000.part").write_bytes(b"ol")
    terminal.run(f"{COMMAND} -t {tmp_path}")
    assert (tmp_path / "m").read_bytes() == b"new"


def test_a_file_that_changed_comes_again(terminal: Terminal, storage: FakeStorage, tmp_path: Path) -> None:
    storage.files = {"m": b"old"}
    terminal.run(f"{COMMAND} -t {tmp_path}")
    storage.files = {"m": b"newer"}
    terminal.run(f"{COMMAND} -t {tmp_path}")
    assert (tmp_path / "m").read_bytes() == b"newer"


def test_a_file_that_is_written_meanwhile_is_said_so(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"m": b"one"}
    read = storage.read

    def grow(path: str, offset: int, length: int) -> bytes:
        data = read(path, offset, length)
        storage.files["m"] = b"one and more"
        return data

    monkeypatch.setattr(storage, "read", grow)
    terminal.run(f"{COMMAND} -t {tmp_path}")
    assert (tmp_path / "m").read_bytes() == b"one"
    assert "'m' was written to while it was downloaded" in terminal.said[0]
    assert (tmp_path / "m").stat().st_mtime != MODIFIED.timestamp()


def test_two_downloads_of_a_file_do_not_mix(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, reads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"m": b"0123456789"}
    read = storage.read

    def beside(path: str, offset: int, length: int) -> bytes:
        if offset == 4:
            [part] = tmp_path.glob("m.*.part")
            with part.open("ab") as other:
                other.write(b"4567")
        return read(path, offset, length)

    monkeypatch.setattr(storage, "read", beside)
    with pytest.raises(Problem, match="another download writes"):
        terminal.run(f"{COMMAND} -t {tmp_path}")
    monkeypatch.setattr(storage, "read", read)
    terminal.run(f"{COMMAND} -t {tmp_path}")
    assert contents(tmp_path) == {"m": b"0123456789"}


def test_a_file_that_shrinks_is_an_error(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"m": b"one"}
    monkeypatch.setattr(storage, "read", lambda *_: b"")
    with pytest.raises(Problem, match="became shorter"):
        terminal.run(f"{COMMAND} -t {tmp_path}")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["..", ".", "a/b"])
def test_names_that_lead_out_of_the_folder(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    storage.files = {"m": b""}
    entry = storage.entries("")[0]
    evil = type(entry)(name, is_directory=False, size=0)
    monkeypatch.setattr(storage, "entries", lambda _: [evil])
    with pytest.raises(Problem, match="cannot be a file of this machine"):
        terminal.run(f"{COMMAND} -t {tmp_path}/in")
    assert not os.path.exists(tmp_path / "in")


def test_a_large_file_takes_as_much_memory_as_a_chunk(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"m": b"x"}
    monkeypatch.setattr(download, "CHUNK", 1 << 20)
    size = 64 << 20
    entry = replace(storage.entries("")[0], size=size)
    monkeypatch.setattr(storage, "entries", lambda _: [entry])
    monkeypatch.setattr(storage, "find", lambda _: entry)
    monkeypatch.setattr(storage, "read", lambda _path, offset, length: bytes([offset >> 20]) * length)
    tracemalloc.start()
    try:
        terminal.run(f"{COMMAND} -t {tmp_path}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "m").stat().st_size == size
    assert peak < 8 << 20


def test_a_credential_that_expires_ends_it_at_once_and_a_new_one_goes_on(
    terminal: Terminal, storage: FakeStorage, tmp_path: Path, reads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files = {"m": b"0123456789"}
    read = storage.read

    def expire(path: str, offset: int, length: int) -> bytes:
        if offset:
            raise StorageError("storage account 'acc' does not accept the SAS token", denied=True)
        return read(path, offset, length)

    monkeypatch.setattr(storage, "read", expire)
    with pytest.raises(StorageError, match="does not accept the SAS token"):
        terminal.run(f"{COMMAND} -t {tmp_path}")
    assert terminal.seconds == 0
    monkeypatch.setattr(storage, "read", read)
    reads.clear()
    terminal.run(f"{COMMAND} -t {tmp_path}")
    assert reads == [("m", 4, 4), ("m", 8, 2)]
    assert contents(tmp_path) == {"m": b"0123456789"}
