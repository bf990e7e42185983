"""The seam to storage: what a directory in a file share or a blob container can be asked."""

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Entry:
    """A direct child of a directory. Folders have neither size nor time (Batch AI reference §2).

    version: differs between two states of a file (its ETag).
    """

    name: str
    is_directory: bool
    size: int | None = None
    modified: datetime | None = None
    version: str | None = None


class Directory(Protocol):
    """A directory. Paths are relative to it, with slashes between their parts; "" is the directory itself.

    Every method raises StorageError when the storage refuses or cannot be reached.
    """

    def entries(self, path: str) -> list[Entry]:
        """The direct children, ordered by name; StorageError.not_found if there is no such folder."""
        ...

    def find(self, path: str) -> Entry | None:
        """A file as it is at this moment, None if there is no such file."""
        ...

    def write(self, path: str, content: BinaryIO, length: int) -> None:
        """Makes a file, and the folders that it lies in, or writes a file anew; `length`: bytes of `content`."""
        ...

    def read(self, path: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; empty where the file has none there."""
        ...

    def url(self, path: str, expiry: datetime) -> str | None:
        """A URL that downloads the file until `expiry`, and lets nobody do anything else; None if nothing serves it."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


def join(*parts: str) -> str:
    """One relative path of several, without empty parts and "."."""
    return "/".join(part for path in parts for part in path.split("/") if part not in ("", "."))
