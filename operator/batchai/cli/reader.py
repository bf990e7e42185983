"""Directories on claims and NFS, read by a pod that lives as long as the command: what nothing else can mount."""

import io
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import BinaryIO

from batchai.cli import kube
from batchai.cli.kube import Object
from batchai.cli.problems import Problem
from batchai.cli.session import Session
from batchai.errors import KubeApiError, StorageError
from batchai.plan.outputs import READER_BUSYBOX, READER_CONTAINER, READER_ROOT, VolumeLocation, reader_pod
from batchai.storage.directory import Directory, Entry, join

IMAGE_VARIABLE = "BATCHAI_LAUNCHER_IMAGE"
_IMAGE = "batchai/launcher:0.1.0"
_START_SECONDS = 60

# A path that is not there ends a script with _MISSING. %F is a word or more, so it comes last but for the name.
_FORMAT = "%s %Y %F|%n"
_LIST = f"""[ -d "$1" ] || exit 3
cd "$1" && {READER_BUSYBOX} find . -mindepth 1 -maxdepth 1 -exec {READER_BUSYBOX} stat -c "$2" {{}} +"""
_STAT = f"""[ -f "$1" ] || exit 3
{READER_BUSYBOX} stat -c "$2" "$1" """
_READ = f"""[ -f "$1" ] || exit 3
exec 2>/dev/null
{READER_BUSYBOX} dd if="$1" bs=64k iflag=skip_bytes,count_bytes skip="$2" count="$3" """
_MISSING = 3


class VolumeDirectory:
    """`Directory` over commands in a reader pod; see the protocol for the contract of its methods."""

    def __init__(self, session: Session, namespace: str, pod: str, root: str) -> None:
        self._session = session
        self._namespace = namespace
        self._pod = pod
        self._root = root

    def entries(self, path: str) -> list[Entry]:
        """The direct children, of one command."""
        listed = self._run(_LIST, path, _FORMAT)
        if listed is None:
            raise StorageError(f"'{path or '.'}' does not exist on the volume", not_found=True)
        return sorted(map(_entry, listed.decode(errors="replace").splitlines()), key=lambda entry: entry.name)

    def find(self, path: str) -> Entry | None:
        """A file's size and time."""
        found = self._run(_STAT, path, _FORMAT)
        return None if found is None else _entry(found.decode(errors="replace").rstrip("\n"))

    def read(self, path: str, offset: int, length: int) -> bytes:
        """A range of a file; empty if it is gone."""
        return self._run(_READ, path, str(offset), str(length)) or b""

    def write(self, path: str, content: BinaryIO, length: int) -> None:  # noqa: ARG002 - the protocol's
        """Refused: the pod has the volume read-only."""
        raise StorageError("a volume can be read only from outside of its jobs")

    def url(self, path: str, expiry: datetime) -> str | None:  # noqa: ARG002 - the protocol's
        """None: nothing serves it."""
        return None

    def close(self) -> None:
        """Nothing to close: whoever made the pod removes it."""

    def _run(self, script: str, path: str, *arguments: str) -> bytes | None:
        """What a script writes; None if the path is not there. Raises StorageError when it fails."""
        command = [READER_BUSYBOX, "sh", "-c", script, "sh", f"/{join(READER_ROOT, self._root, path)}", *arguments]
        out, err = io.BytesIO(), io.BytesIO()
        try:
            code = self._session.kube.execute(self._namespace, self._pod, READER_CONTAINER, command, out, err)
        except KubeApiError as error:
            raise StorageError(f"pod '{self._pod}' cannot read the volume: {error}") from error
        if code == _MISSING:
            return None
        if code:
            raise StorageError(f"the volume cannot be read: {err.getvalue().decode(errors='replace').strip()}")
        return out.getvalue()


@contextmanager
def reading(
    session: Session, namespace: str, location: VolumeLocation, pods: Sequence[Object], *, user: int | None = None
) -> Iterator[Directory]:
    """The directory, as long as the context lasts; pods: the job's, running ones first, whose image and node it takes.

    Raises Problem if the pod does not start.
    """
    name = f"batchai-reader-{secrets.token_hex(4)}"
    node = next((pod["spec"].get("nodeName") for pod in pods if pod.get("status", {}).get("phase") == "Running"), None)
    body = reader_pod(name, namespace, location, _image(session, pods), node=node, user=user)
    session.kube.create(kube.PODS, namespace, body)
    try:
        _await(session, namespace, name)
        yield VolumeDirectory(session, namespace, name, location.path)
    finally:
        with suppress(KubeApiError):  # it ends by itself
            session.kube.delete(kube.PODS, namespace, name)


def _image(session: Session, pods: Sequence[Object]) -> str:
    """The launcher's image: as the environment says, or as a pod of the job has it, or its own name."""
    known = (pod["spec"]["initContainers"][0]["image"] for pod in pods if pod["spec"].get("initContainers"))
    return session.environ.get(IMAGE_VARIABLE) or next(known, _IMAGE)


def _await(session: Session, namespace: str, name: str) -> None:
    pod: Object = {}

    def started() -> bool | None:
        nonlocal pod
        pod = session.kube.get(kube.PODS, namespace, name)
        return True if pod.get("status", {}).get("phase") in {"Running", "Failed"} else None

    session.poll(started, _START_SECONDS, "A pod that reads the volume starts")
    status = pod.get("status", {})
    if status.get("phase") == "Running":
        return
    waiting = [item.get("state", {}).get("waiting", {}) for item in status.get("containerStatuses") or []]
    said = [item.get("message") for item in (*status.get("conditions", []), *waiting) if item.get("message")]
    why = f": {said[0]}" if said else ""
    raise Problem(
        f"a pod that reads the volume has not started within {_START_SECONDS} s{why}.",
        f"The volume may be in use elsewhere, or its image missing (set {IMAGE_VARIABLE} to your launcher's).",
    )


def _entry(line: str) -> Entry:
    facts, _, name = line.partition("|")
    size, time, kind = facts.split(" ", 2)
    if kind == "directory":
        return Entry(name.removeprefix("./"), is_directory=True)
    modified = datetime.fromtimestamp(int(time), UTC)
    return Entry(
        name.removeprefix("./"), is_directory=False, size=int(size), modified=modified, version=f"{time}-{size}"
    )
