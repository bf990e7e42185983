import io
import itertools
import tracemalloc
from datetime import datetime
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchai.cli import follow
from batchai.cli.follow import Follower
from batchai.storage.directory import Entry


class GrowingFile:
    """A directory with one file; each look at its size first plays the next step of a script."""

    def __init__(self, *steps: bytes | None) -> None:
        self.steps = list(steps)
        self.content: bytes | None = None
        self.reads: list[int] = []

    def find(self, path: str) -> Entry | None:
        if self.steps:
            self.content = self.steps.pop(0)
        return None if self.content is None else Entry(path, is_directory=False, size=len(self.content))

    def write(self, _path: str, _content: BinaryIO, _length: int) -> None:
        raise NotImplementedError

    def read(self, _path: str, offset: int, length: int) -> bytes:
        self.reads.append(length)
        return (self.content or b"")[offset : offset + length]

    def entries(self, _path: str) -> list[Entry]:
        raise NotImplementedError

    def url(self, _path: str, _expiry: datetime) -> str:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def missing(self) -> None:
        self.lines.append("missing")

    def found(self) -> None:
        self.lines.append("found")

    def restarted(self) -> None:
        self.lines.append("restarted")


def stream(file: GrowingFile, *, quiet: int = 1) -> tuple[bytes, list[str]]:
    """Follows until the script is played; the job ends with its last step."""
    out, log = io.BytesIO(), Log()
    Follower(file, "f", out, log).follow(lambda: not file.steps, lambda: None, quiet=quiet)
    return out.getvalue(), log.lines


def test_a_file_that_is_there_is_copied_as_it_is() -> None:
    assert stream(GrowingFile(b"\x00\xff\r\n")) == (b"\x00\xff\r\n", ["found"])


def test_what_is_written_between_the_last_read_and_the_end_is_copied() -> None:
    file = GrowingFile(b"one\n")
    out = io.BytesIO()

    def over() -> bool:
        # The job writes its last line, then ends, after the previous read and before this answer.
        if file.content is not None and not file.steps:
            file.steps.append(b"one\nlast\n")
        return True

    ended = iter([False, True, True, True])
    Follower(file, "f", out, Log()).follow(lambda: next(ended) and over(), lambda: None, quiet=1)
    assert out.getvalue() == b"one\nlast\n"


def test_waits_for_the_file() -> None:
    assert stream(GrowingFile(None, None, b"", b"x")) == (b"x", ["missing", "missing", "found"])


def test_without_a_file_it_ends_with_the_job() -> None:
    assert stream(GrowingFile(None, None)) == (b"", ["missing"] * 3)


@pytest.mark.parametrize(("quiet", "copied"), [(1, b"a"), (3, b"ab")])
def test_storage_that_shows_writes_late_is_asked_again(quiet: int, copied: bytes) -> None:
    file, out = GrowingFile(b"a", b"a", b"ab", b"ab", b"ab", b"ab", b"ab"), io.BytesIO()
    ended = itertools.chain([False], itertools.repeat(True))
    Follower(file, "f", out, Log()).follow(lambda: next(ended), lambda: None, quiet=quiet)
    assert out.getvalue() == copied


def test_a_file_that_shrank_is_copied_anew() -> None:
    assert stream(GrowingFile(b"first attempt", b"second")) == (
        b"first attemptsecond",
        ["found", "restarted"],
    )


def test_a_file_written_anew_is_noticed_though_it_is_longer() -> None:
    out, log = stream(GrowingFile(b"epoch 1\n", b"EPOCH 1\nEPOCH 2\n"))
    assert out == b"epoch 1\nEPOCH 1\nEPOCH 2\n"
    assert log == ["found", "restarted"]


def test_memory_is_bounded_by_the_chunk() -> None:
    file = GrowingFile(b"x" * (3 * follow.CHUNK + 5))
    out, _ = stream(file)
    assert len(out) == 3 * follow.CHUNK + 5
    assert max(file.reads) == follow.CHUNK


class Long:
    """A file of 10 GB that nobody holds, and the reader of its bytes."""

    size = 10_000_000_000
    block = bytes(range(251)) * (2 * follow.CHUNK // 251 + 2)

    def __init__(self) -> None:
        self.received = 0

    def find(self, path: str) -> Entry | None:
        return Entry(path, is_directory=False, size=self.size)

    def read(self, _path: str, offset: int, length: int) -> bytes:
        begin = offset % 251
        return self.block[begin : begin + min(length, self.size - offset)]

    def write(self, data: memoryview) -> None:
        assert data[0] == self.received % 251
        self.received += len(data)

    def flush(self) -> None:
        pass


def test_a_long_file_takes_no_more_memory_than_a_short_one() -> None:
    long, log = Long(), Log()
    follower = Follower(long, "f", long, log)  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        follower.follow(lambda: True, lambda: None, quiet=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (long.received, log.lines) == (Long.size, ["found"])
    assert peak < 4 * follow.CHUNK


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=20), st.integers(1, 3))
def test_any_growing_file_is_copied_byte_for_byte(pieces: list[bytes], quiet: int) -> None:
    steps = [b"".join(pieces[: n + 1]) for n in range(len(pieces))]
    out, log = stream(GrowingFile(*steps), quiet=quiet)
    assert out == b"".join(pieces)
    assert log == ["found"]
