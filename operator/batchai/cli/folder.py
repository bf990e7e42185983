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
    def marker(self) -> str:
        """The file of a share that says where all of it lies there, below ROOT."""
        return f"{ROOT}/{self.digest}.complete"


def read(path: Path, without: Path | None = None) -> Folder:
    """The folder at `path`, without .git, __pycache__ and one file. Raises UsageProblem for what is none."""
    if not path.is_dir():
        raise UsageProblem(f"{path}: is no folder.", "Give the folder that holds the job's code.")
    files = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_file()
        and not _LEFT_OUT & set(file.relative_to(path).parts)
        and (without is None or not file.samefile(without))
    )
    if not files:
        raise UsageProblem(f"{path}: has no files.", "Give the folder that holds the job's code.")
    digest = hashlib.sha256()
    for file in files:
        with (path / file).open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        try:
            digest.update(f"{file}\0{inner}\0".encode())
        except UnicodeEncodeError as error:
            raise UsageProblem(f"{path}: {file!r} is no name in UTF-8, as storage wants it.", "Rename it.") from error
    return Folder(path, files, digest.hexdigest()[:16])
