"""Directories on claims and NFS, read by a pod for as long as the command runs: what nothing else can mount."""

import io
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from batchai.cli import kube
from batchai.cli.kube import Object
from batchai.cli.problems import Problem
from batchai.cli.session import Session
from batchai.errors import KubeApiError, StorageError
from batchai.plan.outputs import (
    READER_BUSYBOX,
    READER_CONTAINER,
    READER_LABELS,
    READER_ROOT,
    VolumeLocation,
    reader_pod,
)
from batchai.storage.directory import Entry, join

IMAGE_VARIABLE = "BATCHAI_LAUNCHER_IMAGE"
_IMAGE = "batchai/launcher:0.1.0"
_START_SECONDS = 60

# A path that is not there ends a script with _MISSING. %F is a word or more, so it comes last but for the name.
_FORMAT = "%s %Y %F|%n"
_LINE = re.compile(r"(?P<size>\d+) (?P<time>\d+) (?P<kind>[^|]+)\|(?P<name>.+)")
# What goes away meanwhile is left out. Links are what they lead to, but those to folders could lead in circles.
_LIST = f"""[ -d "$1" ] || exit 3
cd "$1" || exit 3
children() {{ {READER_BUSYBOX} find . -mindepth 1 -maxdepth 1 ! -name '*
*' "$@" {{}} +; }}
children ! -type l -exec {READER_BUSYBOX} sh -c '{READER_BUSYBOX} stat -c "$0" "$@" 2>/dev/null; :' "$2" &&
children -type l -exec {READER_BUSYBOX} sh -c 'for link; do
  [ -f "$link" ] && {READER_BUSYBOX} stat -L -c "$0" "$link" 2>/dev/null
done; :' "$2" """
_STAT = f"""[ -f "$1" ] || exit 3
{READER_BUSYBOX} stat -L -c "$2" "$1" """
_READ = f"""[ -f "$1" ] || exit 3
exec 2>/dev/null
{READER_BUSYBOX} dd if="$1" bs=64k iflag=skip_bytes,count_bytes skip="$2" count="$3" """
_MISSING = 3


@dataclass(frozen=True)
class Place:
    """Where a volume can be read now. node: where it must be, because others have it there; image: the launcher's."""

    location: VolumeLocation
    node: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class _Reader:
    pod: str
    place: Place


class VolumeDirectory:
    """`Directory` over commands in a reader pod; see the protocol for the contract of its methods.

    `look` tells where the volume can be read, None while a reader would be in the way of those who are to write on it.
    The pod is made when it is needed, again when it has ended, and elsewhere when those who write went elsewhere; its
    user is `user`, None for root. Methods raise Problem if it does not start.
    """

    def __init__(self, session: Session, namespace: str, look: Callable[[], Place | None], user: int | None) -> None:
        self._session = session
        self._namespace = namespace
        self._look = look
        self._user = user
        self._reader: _Reader | None = None

    def entries(self, path: str) -> list[Entry]:
        """The direct children, of one command; without names that have line feeds, and links to folders."""
        listed = self._run(_LIST, path, _FORMAT, look=True)
        if listed is None:
            raise StorageError(f"'{path or '.'}' does not exist on the volume", not_found=True)
        return sorted(_parsed(listed), key=lambda entry: entry.name)

    def find(self, path: str) -> Entry | None:
        """A file's size and time."""
        return next(_parsed(self._run(_STAT, path, _FORMAT, look=True) or b""), None)

    def read(self, path: str, offset: int, length: int) -> bytes:
        """A range of a file; empty if it is gone."""
        return self._run(_READ, path, str(offset), str(length), look=False) or b""

    def write(self, path: str, content: BinaryIO, length: int) -> None:  # noqa: ARG002 - the protocol's
        """Refused: the pod has the volume read-only."""
        raise StorageError("a volume can be read only from outside of its jobs")

    def url(self, path: str, expiry: datetime) -> str | None:  # noqa: ARG002 - the protocol's
        """None: nothing serves it."""
        return None

    def close(self) -> None:
        """Removes the pod."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(KubeApiError):  # it ends by itself
                self._session.kube.delete(kube.PODS, self._namespace, reader.pod)

    def _run(self, script: str, path: str, *arguments: str, look: bool) -> bytes | None:
        """What a script writes; None if the path is not there. Raises StorageError when it fails."""
        reader = self._looked() if look or self._reader is None else self._reader
        if reader is None:
            if not look:  # in the middle of a file
                raise StorageError("the volume cannot be read while the job has no running pod")
            return None
        where = f"/{join(READER_ROOT, reader.place.location.path, path)}"
        command = [READER_BUSYBOX, "sh", "-c", script, "sh", where, *arguments]
        out, err = io.BytesIO(), io.BytesIO()
        try:
            code = self._session.kube.execute(self._namespace, reader.pod, READER_CONTAINER, command, out, err)
        except KubeApiError as error:
            self.close()  # if it has ended, there is another one the next time
            raise StorageError(f"pod '{reader.pod}' cannot read the volume: {error}") from error
        if code == _MISSING:
            return None
        if code:
            raise StorageError(f"the volume cannot be read: {err.getvalue().decode(errors='replace').strip()}")
        return out.getvalue()

    def _looked(self) -> _Reader | None:
        """The reader in the right place, made if there can be one."""
        place = self._look()
        if self._reader is not None and (place is None or place.node not in (None, self._reader.place.node)):
            self.close()
        if place is not None and self._reader is None:
            self._reader = self._started(place)
        return self._reader

    def _started(self, place: Place) -> _Reader:
        self._remove_former()
        session, name = self._session, f"batchai-reader-{secrets.token_hex(4)}"
        image = session.environ.get(IMAGE_VARIABLE) or place.image or _IMAGE
        body = reader_pod(name, self._namespace, place.location, image, node=place.node, user=self._user)
        session.kube.create(kube.PODS, self._namespace, body)
        try:
            _await(session, self._namespace, name)
        except BaseException:
            with suppress(KubeApiError):
                session.kube.delete(kube.PODS, self._namespace, name)
            raise
        return _Reader(name, place)

    def _remove_former(self) -> None:
        """The readers of commands that could not remove them, when they have ended."""
        for pod in self._session.kube.list(kube.PODS, self._namespace, READER_LABELS):
            if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                with suppress(KubeApiError):
                    self._session.kube.delete(kube.PODS, self._namespace, pod["metadata"]["name"])


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


def _parsed(output: bytes) -> Iterator[Entry]:
    for line in output.decode(errors="replace").split("\n"):
        if (found := _LINE.fullmatch(line)) is not None:
            yield _entry(found)


def _entry(found: re.Match[str]) -> Entry:
    name = found["name"].removeprefix("./")
    if found["kind"] == "directory":
        return Entry(name, is_directory=True)
    modified = datetime.fromtimestamp(int(found["time"]), UTC)
    version = f"{found['time']}-{found['size']}"
    return Entry(name, is_directory=False, size=int(found["size"]), modified=modified, version=version)
