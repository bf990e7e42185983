"""A small client: dicts in, dicts out, one session, errors by meaning. It knows no kind's fields."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from batchai.api import names
from batchai.errors import KubeApiError
from batchai.kube.store import Object


@dataclass(frozen=True)
class Resource:
    """A resource of the API; group "" is the core group."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str | None = None) -> str:
        """The URL path of the collection, or of one object, or of its subresource."""
        parts = ["api" if not self.group else f"apis/{self.group}", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


PODS = Resource("", "v1", "pods")
NODES = Resource("", "v1", "nodes", namespaced=False)
SERVICES = Resource("", "v1", "services")
VOLUMES = Resource("", "v1", "persistentvolumes", namespaced=False)
CLAIMS = Resource("", "v1", "persistentvolumeclaims")
EVENTS = Resource("", "v1", "events")
EVENT_SERIES = Resource("events.k8s.io", "v1", "events")
"""The same Events in the shape that counts repetitions."""
SECRETS = Resource("", "v1", "secrets")
STATEFULSETS = Resource("apps", "v1", "statefulsets")
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases")
PROVIDER_CLASSES = Resource("secrets-store.csi.x-k8s.io", "v1", "secretproviderclasses")
POD_TEMPLATES = Resource("", "v1", "podtemplates")
CAPACITY_BUFFERS = Resource("autoscaling.x-k8s.io", "v1beta1", "capacitybuffers")
WORKSPACES = Resource(names.GROUP, names.VERSION, "workspaces")
CLUSTERS = Resource(names.GROUP, names.VERSION, "clusters")
EXPERIMENTS = Resource(names.GROUP, names.VERSION, "experiments")
JOBS = Resource(names.GROUP, names.VERSION, "jobs")
FILESERVERS = Resource(names.GROUP, names.VERSION, "fileservers")
KINDS = {
    "Workspace": WORKSPACES,
    "Cluster": CLUSTERS,
    "Experiment": EXPERIMENTS,
    "Job": JOBS,
    "FileServer": FILESERVERS,
}
"""Our kinds by name."""

_PAGE = 500
_TRIES = 4
_WATCH_SILENCE_SECONDS = 90.0
"""A watch gets a bookmark about every minute, but of Events; longer silence may mean a dead connection."""
_MAX_EVENT_BYTES = 4 * 1024 * 1024
_METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}

Observer = Callable[[str, str, int, float], None]
"""Told of each request: verb, resource (pods, jobs/status), HTTP status (0: no answer), seconds until it came."""


class KubeApi(Protocol):
    """What reconcilers need of the API. Every method raises KubeApiError."""

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        """Reads an object."""

    async def create(
        self, resource: Resource, body: Mapping[str, Any], *, namespace: str = "", dry_run: bool = False
    ) -> Object:
        """Creates an object."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        subresource: str | None = None,
    ) -> Object:
        """Applies a JSON merge patch; a resourceVersion or uid in its metadata is a precondition."""

    async def delete(self, resource: Resource, name: str, *, namespace: str = "", uid: str | None = None) -> None:
        """Deletes an object, only if it has this uid."""

    async def exists_secret(self, namespace: str, name: str) -> bool:
        """Whether a Secret exists."""


@dataclass(frozen=True)
class _Call:
    """What is asked of the API server."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str | None = None

    @property
    def method(self) -> str:
        return _METHODS[self.verb]

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace, self.name, self.subresource)

    @property
    def label(self) -> str:
        return "/".join(filter(None, (self.resource.plural, self.subresource)))


class KubeClient:
    """KubeApi over a session, and what informers need besides."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        writes_in_flight: int = 32,
        observe: Observer = lambda *_: None,
    ) -> None:
        self._session = session
        self._server = server.rstrip("/")
        self._observe = observe
        self._writes = asyncio.Semaphore(writes_in_flight)

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        """Reads an object."""
        return await self._request(_Call("get", resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        *,
        label_selector: str = "",
        field_selector: str = "",
        cached: bool = False,
        slim: Callable[[Object], Object | None] = lambda item: item,
    ) -> tuple[list[Object], str]:
        """All objects in all namespaces, and the resourceVersion to watch from.

        cached: as the API server remembers them, perhaps a little behind, which spares it a look at all in etcd.
        slim: what to keep of each, None for nothing; it is applied page by page, so that never all of them are there
        in full.
        """
        items: list[Object] = []
        query = _selectors(label_selector, field_selector) | {"limit": str(_PAGE)}
        if cached:
            query["resourceVersion"] = "0"
        while True:
            page = await self._request(_Call("list", resource), query=query)
            items += (kept for kept in map(slim, page["items"]) if kept is not None)
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return items, metadata["resourceVersion"]
            query["continue"] = metadata["continue"]
            query.pop("resourceVersion", None)  # the token has one, and the server refuses a second

    async def watch(
        self,
        resource: Resource,
        version: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[tuple[str, Object]]:
        """(type, object) of each change after a resourceVersion, bookmarks included, until it ends or falls silent.

        opened: told when the server has begun to answer. Raises KubeApiError with `gone` when the version is too old,
        and with status 0 when the connection is lost.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SILENCE_SECONDS)
        try:
            async with self._answer(_Call("watch", resource), params=query, timeout=timeout) as response:
                await _raise_for(response)
                opened()
                try:
                    async for line in _lines(response.content):
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise _status_error(event["object"].get("code", 0), event["object"])
                        yield event["type"], event["object"]
                except aiohttp.SocketTimeoutError:
                    return
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise KubeApiError(0, "ConnectionLost", f"watch of {resource.plural}: {error}") from error

    async def create(
        self, resource: Resource, body: Mapping[str, Any], *, namespace: str = "", dry_run: bool = False
    ) -> Object:
        """Creates an object."""
        query = {"dryRun": "All"} if dry_run else {}
        return await self._write(_Call("create", resource, namespace), body=body, query=query)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        subresource: str | None = None,
    ) -> Object:
        """Applies a JSON merge patch; a resourceVersion or uid in its metadata is a precondition."""
        return await self._write(
            _Call("patch", resource, namespace, name, subresource),
            body=body,
            content="application/merge-patch+json",
        )

    async def delete(self, resource: Resource, name: str, *, namespace: str = "", uid: str | None = None) -> None:
        """Deletes an object, only if it has this uid."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            body["preconditions"] = {"uid": uid}
        await self._write(_Call("delete", resource, namespace, name), body=body)

    async def exists_secret(self, namespace: str, name: str) -> bool:
        """Whether a Secret exists, asked without the right to read any.

        A dry run of creating one of that name answers "already exists" or would create it; so the operator
        needs the verb `create` only, and no storage key ever reaches it.
        """
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        try:
            await self.create(SECRETS, body, namespace=namespace, dry_run=True)
        except KubeApiError as error:
            if error.already_exists:
                return True
            raise
        return False

    async def _write(
        self,
        call: _Call,
        *,
        body: Mapping[str, Any],
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        async with self._writes:
            return await self._request(call, query=query, body=body, content=content)

    async def _request(
        self,
        call: _Call,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> Object:
        """One request; answers that ask to come back later (429, 503) are obeyed a few times."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", **({"Content-Type": content} if data is not None else {})}
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._answer(call, params=query, data=data, headers=headers) as response:
                    await _raise_for(response)
                    answer: Object = await response.json()
                    return answer
            except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
                raise KubeApiError(0, "ConnectionLost", f"{call.method} {call.path}: {error}") from error
            except KubeApiError as error:
                if error.retry_after is None or attempt == _TRIES:
                    raise
                await asyncio.sleep(min(error.retry_after, 10.0))
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _answer(self, call: _Call, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to one request, whatever it says; the observer is told when it begins, or does not come."""
        began = time.monotonic()
        status = 0
        try:
            response = await self._session.request(call.method, self._server + call.path, **options)
            status = response.status
        finally:
            self._observe(call.verb, call.label, status, time.monotonic() - began)
        async with response:
            yield response


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to a bound; readline() has a smaller one."""
    pending = b""
    async for chunk in content.iter_any():
        *complete, pending = (pending + chunk).split(b"\n")
        for line in complete:
            if line:
                yield line
        if len(pending) > _MAX_EVENT_BYTES:
            raise KubeApiError(0, "EventTooLarge", "a watch event is larger than 4 MiB")


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    try:
        answer = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        answer = {}
    retry_after = response.headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdigit() and response.status in {429, 503} else None
    raise _status_error(response.status, answer if isinstance(answer, dict) else {}, retry_after=seconds)


def _status_error(status: int, answer: Mapping[str, Any], *, retry_after: float | None = None) -> KubeApiError:
    message = answer.get("message") or f"HTTP status {status}"
    return KubeApiError(status, answer.get("reason", ""), message, retry_after=retry_after)
