"""A folder of this machine that a job is to have: its files, and a name that follows from their content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchai.cli.problems import UsageProblem

ROOT = "batchai-code"
"""The folder of a share below which submitted folders lie."""
_LEFT_OUT = frozenset({".git", "__pycache__"})


@dataclass(frozen=True)
class Folder:
    """A folder and its files, as paths relative to it; `digest` is the same for the same content."""

    path: Path
    files: Sequence[str]
    digest: str

    @property
    def remote(self) -> str:
        """Where it lies in a share. No other content comes there, so a running job's code never changes."""
        return f"{ROOT}/{self.digest}"

    @property
    def marker(self) -> str:
        """The empty file beside it that says that all of it is there."""
        return f"{self.remote}.complete"


def read(path: Path) -> Folder:
    """The folder at `path`, without .git and __pycache__. Raises UsageProblem for what is none."""
    if not path.is_dir():
        raise UsageProblem(f"{path}: is no folder.", "Give the folder that holds the job's code.")
    files = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file() and not _LEFT_OUT & set(file.relative_to(path).parts)
    )
    if not files:
        raise UsageProblem(f"{path}: has no files.", "Give the folder that holds the job's code.")
    digest = hashlib.sha256()
    for file in files:
        with (path / file).open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        digest.update(f"{file}\0{inner}\0".encode())
    return Folder(path, files, digest.hexdigest()[:16])
