"""Following a file that grows, without missing a byte.

It knows nothing of jobs: `over` says when nobody writes any more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeVar

from batchai.storage.directory import Directory

CHUNK = 1 << 20
"""Bytes per read: what is held in memory, whatever the file's length."""
OVERLAP = 64
"""Bytes that are read again to see that the file still continues what was copied."""


T = TypeVar("T")


class Patience(Protocol):
    """How an action is called that may fail for a while."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """The action's result; its error, when it does not pass."""
        ...


def _once(action: Callable[[], T], /) -> T:
    return action()


class Notices(Protocol):
    """What the reader is told beside the bytes."""

    def missing(self) -> None:
        """There is no such file yet; called in each round."""

    def found(self) -> None:
        """The file is there; called once, before its bytes."""

    def restarted(self) -> None:
        """The file no longer continues what was copied; it is copied from its beginning."""


@dataclass
class Follower:
    """Copies what is new in a file to `out`."""

    directory: Directory
    path: str
    out: BinaryIO
    notices: Notices
    found: bool = False
    offset: int = 0
    _tail: bytes = b""

    def advance(self) -> int:
        """Copies to the end of the file; returns the number of bytes, 0 if there is no such file."""
        entry = self.directory.find(self.path)
        if entry is None:
            self.notices.missing()
            return 0
        size = entry.size or 0
        if not self.found:
            self.found = True
            self.notices.found()
        if size < self.offset:
            self._restart()
        copied = 0
        while self.offset < size:
            data = self.directory.read(self.path, self.offset - len(self._tail), CHUNK)
            if not data.startswith(self._tail):
                self._restart()
                continue
            fresh = memoryview(data)[len(self._tail) :]
            if not fresh:  # it shrank since its size was asked for
                break
            self.out.write(fresh)
            self.out.flush()
            copied += len(fresh)
            self.offset += len(fresh)
            self._tail = data[-OVERLAP:]
        return copied

    def follow(
        self,
        over: Callable[[], bool],
        pause: Callable[[], None],
        *,
        quiet: int,
        patiently: Patience = _once,
    ) -> None:
        """Follows until `over` and the file's end.

        `over` is asked before each read, so what was written before the end is read after it.
        `quiet`: how many reads after the end must find nothing new; more than one for storage that
        shows a write late. `patiently` calls `over` and `advance`, again where an outage may pass.
        """
        silent = 0
        while silent < quiet:
            ended = patiently(over)
            silent = silent + 1 if not patiently(self.advance) and ended else 0
            if silent < quiet:
                pause()

    def _restart(self) -> None:
        self.offset, self._tail = 0, b""
        self.notices.restarted()
