"""A Kubernetes API and a session for commands, in memory."""

import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from batchai.cli.__main__ import parser, run
from batchai.cli.kube import NAMESPACES, PODS, SECRETS, Kube, Object, Resource
from batchai.cli.kubestreams import Tunnel
from batchai.cli.screen import PIPE, Screen
from batchai.cli.session import Session
from batchai.errors import KubeApiError, StorageError
from batchai.plan.directories import StorageLocation
from batchai.storage.account import StorageAccount
from batchai.storage.directory import Directory, Entry

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODIFIED = datetime(2018, 4, 11, 22, 5, 51, tzinfo=UTC)


class FakeKube(Kube):
    """Objects by resource, namespace and name; `after` lets a test play the operator after each change."""

    def __init__(self, after: Callable[["FakeKube", Object], None] | None = None) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.uids = (f"00000000-0000-4000-8000-{n:012}" for n in itertools.count(1))
        self.after: Callable[[FakeKube, Object], None] = after or provision
        self.executed: list[tuple[str, list[str]]] = []
        self.outputs: Callable[[str], Iterable[bytes]] = lambda _pod: (b"out\n",)
        self.exit_code = 0
        self.logs: Callable[[str, str | None], Iterable[bytes]] = lambda _pod, _since: ()
        self.forbidden: set[Resource] = set()
        self.refused: set[Resource] = set()
        self.namespace("kube-system", uid=SUBSCRIPTION)
        self.namespace("ns")

    def namespace(self, name: str, uid: str = "u") -> None:
        self.objects["namespaces", "", name] = {"metadata": {"name": name, "uid": uid}, "status": {}}

    def put(self, resource: Resource, body: Object) -> Object:
        """An object as it is, without the operator."""
        metadata = body["metadata"]
        metadata.setdefault("uid", next(self.uids))
        metadata.setdefault("creationTimestamp", "2026-01-02T03:04:05Z")
        self.objects[resource.plural, metadata.get("namespace", ""), metadata["name"]] = body
        return body

    def one(self, resource: Resource, name: str, namespace: str = "ns") -> Object:
        return self.objects[resource.plural, namespace, name]

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        self._allow(resource)
        return deepcopy(self._find(resource, namespace, name))

    def list(self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None) -> list[Object]:
        self._allow(resource)
        wanted = (labels or {}).items()
        return [
            deepcopy(item)
            for (plural, place, _), item in self.objects.items()
            if plural == resource.plural
            and (namespace in (None, place))
            and wanted <= item["metadata"].get("labels", {}).items()
        ]

    def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        self._allow(resource)
        name = body["metadata"]["name"]
        if resource in self.refused:
            raise KubeApiError(422, "Invalid", "refused")
        if namespace and ("namespaces", "", namespace) not in self.objects:
            raise KubeApiError(404, "NotFound", f'namespaces "{namespace}" not found')
        if (resource.plural, namespace or "", name) in self.objects:
            raise KubeApiError(409, "AlreadyExists", f'{resource.plural} "{name}" already exists')
        item = self.put(resource, deepcopy(body))
        answer = deepcopy(item)
        self.after(self, item)
        return answer

    def patch(self, resource: Resource, namespace: str | None, name: str, body: Object) -> Object:
        self._allow(resource)
        item = self._find(resource, namespace, name)
        merge(item, body)
        self.after(self, item)
        return deepcopy(item)

    def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None) -> None:
        self._allow(resource)
        found = self._find(resource, namespace, name)["metadata"]["uid"]
        if uid not in (None, found):
            raise KubeApiError(409, "Conflict", f"the UID in the precondition ({uid}) is not {found}")
        del self.objects[resource.plural, namespace or "", name]

    def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], out: BinaryIO, err: BinaryIO
    ) -> int:
        self._allow(PODS)
        self.executed.append((f"{namespace}/{pod}/{container}", list(command)))
        for piece in self.outputs(pod):
            out.write(piece)
        err.write(b"err\n")
        return self.exit_code

    def dial(self, namespace: str, pod: str, port: int) -> Tunnel:
        raise AssertionError("tests of ports have their own dial")

    def log(self, namespace: str, pod: str, container: str, since: str | None = None) -> Iterator[bytes]:
        return iter(self.logs(pod, since))

    def _find(self, resource: Resource, namespace: str | None, name: str) -> Object:
        try:
            return self.objects[resource.plural, namespace or "", name]
        except KeyError:
            raise KubeApiError(404, "NotFound", f'{resource.plural} "{name}" not found') from None

    def _allow(self, resource: Resource) -> None:
        if resource in self.forbidden:
            raise KubeApiError(403, "Forbidden", f"{resource.plural} is forbidden")


def merge(item: Object, patch: Object) -> None:
    """RFC 7386."""
    for name, value in patch.items():
        if value is None:
            item.pop(name, None)
        elif isinstance(value, dict) and isinstance(item.get(name), dict):
            merge(item[name], value)
        else:
            item[name] = value


def provision(_: FakeKube, item: Object) -> None:
    """The operator's part that creates wait for."""
    if item.get("apiVersion", "").startswith("batchai.dev"):
        item.setdefault("status", {}).setdefault("provisioningState", "succeeded")


@dataclass
class Terminal:
    """Runs command lines against a FakeKube; `said` and `errors` are stderr, `written` stdout."""

    kube: FakeKube = field(default_factory=FakeKube)
    environ: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    screen: Screen = PIPE
    written: io.BytesIO = field(default_factory=io.BytesIO)
    errors: io.BytesIO = field(default_factory=io.BytesIO)
    seconds: float = 0
    sleeping: Callable[[], None] = lambda: None
    storage: Callable[[StorageLocation, StorageAccount], Directory] | None = None

    def run(self, command: str, *more: str) -> Any:
        """The result of a command as it is printed; JSON is parsed. Options with spaces come apart."""
        printed = self.run_raw(command, *more).decode()
        return json.loads(printed) if printed.startswith(("{", "[", '"')) else printed

    def run_raw(self, command: str, *more: str) -> bytes:
        """The bytes that a command prints."""
        self.written.seek(0)
        self.written.truncate()
        run(parser().parse_args([*command.split(), *more]), self.session())
        return self.written.getvalue()

    def session(self) -> Session:
        def sleep(seconds: float) -> None:
            self.seconds += seconds
            self.sleeping()

        session = Session(
            connect=lambda: self.kube,
            environ=self.environ,
            out=self.written,
            err=self.errors,
            say=self.said.append,
            progress=None if self.screen is PIPE else self.shown.append,
            screen=self.screen,
            sleep=sleep,
            clock=lambda: self.seconds,
            now=lambda: START + timedelta(seconds=self.seconds),
        )
        if self.storage:
            session.open_storage = self.storage
        return session


class FakeStorage:
    """Files by path; `opened` is what was opened with which account."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.opened: list[tuple[StorageLocation, StorageAccount]] = []
        self.closed = False
        self.outages = 0

    def __call__(self, location: StorageLocation, account: StorageAccount) -> "FakeStorage":
        self.opened.append((location, account))
        return self

    def entries(self, path: str) -> list[Entry]:
        prefix = f"{path}/" if path else ""
        below = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        if not below:
            raise StorageError(f"'{path}' does not exist", not_found=True)
        folders = {name.split("/")[0] for name in below if "/" in name}
        files = {name for name in below if "/" not in name}
        return [Entry(name, is_directory=True) for name in sorted(folders)] + [
            self._entry(prefix + name, name) for name in sorted(files)
        ]

    def find(self, path: str) -> Entry | None:
        if self.outages:
            self.outages -= 1
            raise StorageError("cannot be reached")
        content = self.files.get(path)
        return None if content is None else self._entry(path, path)

    def write(self, path: str, content: BinaryIO, length: int) -> None:
        self.files[path] = content.read()
        assert len(self.files[path]) == length

    def _entry(self, path: str, name: str) -> Entry:
        content = self.files[path]
        version = hashlib.sha256(content).hexdigest()
        return Entry(name, is_directory=False, size=len(content), modified=MODIFIED, version=version)

    def read(self, path: str, offset: int, length: int) -> bytes:
        return self.files[path][offset : offset + length]

    def url(self, path: str, expiry: datetime) -> str:
        return f"https://acc.x/{path}?se={expiry:%H:%M}"

    def close(self) -> None:
        self.closed = True


__all__ = ["NAMESPACES", "SECRETS", "START", "SUBSCRIPTION", "FakeKube", "FakeStorage", "Terminal"]
