"""`batchai job file download`: a file or a whole directory of a job's output, from where an earlier download stopped.

A file that is not complete has the name `<file>.<version>.part`; the version is the remote file's, so that only a
download of the same content goes on. A complete file has the remote one's time, by which it is known again.
"""

import hashlib
import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchai.cli import files, lookup
from batchai.cli.arguments import Group
from batchai.cli.job import job_path
from batchai.cli.kube import Object
from batchai.cli.lookup import JOB
from batchai.cli.output import Row
from batchai.cli.problems import NotFound, Problem
from batchai.cli.session import Session, api_outage
from batchai.errors import BatchAIError, StorageError
from batchai.storage.directory import Directory, Entry, join

CHUNK = 4 << 20
"""Bytes per read: what is held in memory, whatever the file's length."""


@dataclass(frozen=True)
class Download:
    """One file: its path in the output directory, and where it goes."""

    path: str
    entry: Entry
    target: Path

    @property
    def complete(self) -> bool:
        """An earlier download has brought this very file."""
        if not self.target.is_file() or self.entry.modified is None:
            return False
        found = self.target.stat()
        return found.st_size == self.entry.size and int(found.st_mtime) == int(self.entry.modified.timestamp())

    @property
    def part(self) -> Path:
        """The file while it is not complete."""
        version = hashlib.sha256(f"{self.entry.version} {self.entry.size}".encode()).hexdigest()[:8]
        return self.target.with_name(f"{self.target.name}.{version}.part")


def register(jobs_files: Group) -> None:
    """Adds the command to those of files."""
    parser = jobs_files.command("download", "Copy files that a job wrote to this machine.", download, _row)
    files.output_directory(parser)
    parser.add_argument("-f", "--file-name", metavar="FILE", help="one file (the whole folder)")
    parser.add_argument("-t", "--to", metavar="FOLDER", default=".", help="where to; it is made if need be (.)")


def download(args: Namespace, session: Session) -> list[Object]:
    """Downloads what the arguments name, file by file, and lists what is there then."""
    item = lookup.find(session, JOB, job_path(args, args.job))
    folder = Path(args.to)
    done = []
    with files.output(args, session, item).directory as directory:
        for each in _wanted(session, directory, join(args.path), args.file_name, folder):
            if not each.complete:
                _fetch(session, directory, each)
            done.append({"contentLength": each.entry.size, "name": each.path, "path": str(each.target)})
    if not done:
        session.say("Nothing is there.")
    return done


def _wanted(session: Session, directory: Directory, path: str, name: str | None, target: Path) -> Iterator[Download]:
    """The files to download, folder by folder."""
    entries = session.patiently(lambda: directory.entries(path), _may_pass)
    if name is not None:
        entries = [entry for entry in entries if entry.name == name and not entry.is_directory]
        if not entries:
            raise NotFound(f'The file "{join(path, name)}" not found.', "batchai job file list shows those that are.")
    for entry in entries:
        if entry.name in ("", ".", "..") or "/" in entry.name or os.sep in entry.name:
            raise Problem(f"'{join(path, entry.name)}' cannot be a file of this machine.")
        if entry.is_directory:
            yield from _wanted(session, directory, join(path, entry.name), None, target / entry.name)
        else:
            yield Download(join(path, entry.name), entry, target / entry.name)


def _fetch(session: Session, directory: Directory, each: Download) -> None:
    each.target.parent.mkdir(parents=True, exist_ok=True)
    with each.part.open("ab") as part:
        while (offset := part.tell()) < (each.entry.size or 0):
            length = min(CHUNK, (each.entry.size or 0) - offset)
            data = session.patiently(lambda: directory.read(each.path, offset, length), _may_pass)  # noqa: B023 - called at once
            if not data:
                break
            if os.fstat(part.fileno()).st_size != offset:
                raise Problem(
                    f"another download writes {each.part}.", "Wait for its end, or give another folder: --to FOLDER."
                )
            part.write(data)
            part.flush()
            if session.progress:
                session.progress(f"{each.path} {100 * part.tell() // (each.entry.size or 1)} %")
        size = part.tell()
    if size != each.entry.size:
        each.part.unlink()
        raise Problem(f"'{each.path}' became shorter while it was downloaded.", "Download it again.")
    now = session.patiently(lambda: directory.find(each.path), _may_pass)
    each.part.replace(each.target)
    if now is None or now.version != each.entry.version:
        session.say(
            f"WARNING: '{each.path}' was written to while it was downloaded. Download it again when it is done."
        )
    elif each.entry.modified is not None:
        time = each.entry.modified.timestamp()
        os.utime(each.target, (time, time))


def _may_pass(error: BatchAIError) -> bool:
    return api_outage(error) or (isinstance(error, StorageError) and not (error.not_found or error.denied))


def _row(file: Object) -> Row:
    return {"Name": file["name"], "Size": file["contentLength"], "Path": file["path"]}
