"""The commands' view of the Kubernetes API: plain dictionaries over the user's kubeconfig.

The only module of the command line that speaks HTTP to Kubernetes. It knows no resource's meaning.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, Self
from urllib.parse import quote

from batchai.api import names
from batchai.cli import kubestreams
from batchai.cli.kubestreams import Tunnel
from batchai.cli.problems import Problem
from batchai.errors import KubeApiError

Object = dict[str, Any]

_TIMEOUT = (10, 60)
"""Seconds to connect, and to wait for an answer."""
_PAGE = 500


@dataclass(frozen=True)
class Resource:
    """A kind of object as the API's paths name it."""

    prefix: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The path of one object, or of all; namespace None: those of all namespaces (or none has one)."""
        parts = [self.plural, *([quote(name, safe="")] if name else [])]
        if namespace:
            parts = ["namespaces", quote(namespace, safe=""), *parts]
        return "/".join(["", self.prefix, *parts])


_BATCHAI = f"apis/{names.API_VERSION}"
WORKSPACES = Resource(_BATCHAI, "workspaces")
CLUSTERS = Resource(_BATCHAI, "clusters")
EXPERIMENTS = Resource(_BATCHAI, "experiments")
JOBS = Resource(_BATCHAI, "jobs")
FILE_SERVERS = Resource(_BATCHAI, "fileservers")
CLAIMS = Resource("api/v1", "persistentvolumeclaims")
SECRETS = Resource("api/v1", "secrets")
NAMESPACES = Resource("api/v1", "namespaces")
NODES = Resource("api/v1", "nodes")
PODS = Resource("api/v1", "pods")
EVENTS = Resource("api/v1", "events")
CSI_DRIVERS = Resource("apis/storage.k8s.io/v1", "csidrivers")
STORAGE_CLASSES = Resource("apis/storage.k8s.io/v1", "storageclasses")


class Kube(Protocol):
    """What the commands ask of Kubernetes; every method raises KubeApiError."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object."""
        ...

    def list(self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None) -> list[Object]:
        """The objects that carry all the labels; namespace None: of all namespaces."""
        ...

    def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """Makes an object."""
        ...

    def patch(self, resource: Resource, namespace: str | None, name: str, body: Object) -> Object:
        """Changes an object by a merge patch."""
        ...

    def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None) -> None:
        """Asks for an object's deletion, only if it has this uid; it may live on for its finalizers."""
        ...

    def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], out: BinaryIO, err: BinaryIO
    ) -> int:
        """Runs a command in a container and copies what it writes, as it comes; returns its exit code."""
        ...

    def dial(self, namespace: str, pod: str, port: int) -> Tunnel:
        """A connection to a port of a pod."""
        ...

    def log(self, namespace: str, pod: str, container: str, since: str | None = None) -> Iterator[bytes]:
        """The lines of a container's log, each behind its time, as they come, until the container ends.

        `since`: a time in RFC 3339, of which whole seconds count.
        """
        ...


class HttpKube:
    """`Kube` over HTTP, with the credentials of a kubeconfig."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def connect(cls, kubeconfig: str | None, context: str | None) -> Self:
        """Reads the kubeconfig ($KUBECONFIG, ~/.kube/config); nothing is asked of the API yet."""
        # The library takes long to import; --help and bad arguments need not wait for it.
        import yaml  # noqa: PLC0415
        from kubernetes import config  # noqa: PLC0415

        try:
            connect: Any = config.new_client_from_config  # without types in the library
            return cls(connect(config_file=kubeconfig, context=context))
        except (config.ConfigException, yaml.YAMLError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            raise Problem(
                f"no cluster to speak to: {reason.rstrip('.')}.",
                "Set KUBECONFIG or give --kubeconfig; `kubectl config get-contexts` lists the contexts.",
            ) from error

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """GET of one object."""
        return self._request("GET", resource.path(namespace, name))

    def list(self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None) -> list[Object]:
        """GET of a collection, page by page."""
        query: dict[str, Any] = {"limit": _PAGE}
        if labels:
            query["labelSelector"] = ",".join(f"{name}={value}" for name, value in labels.items())
        items: list[Object] = []
        while True:
            page = self._request("GET", resource.path(namespace), query)
            items += page["items"]
            query["continue"] = page["metadata"].get("continue")
            if not query["continue"]:
                return items

    def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        """POST to a collection."""
        return self._request("POST", resource.path(namespace), body=body)

    def patch(self, resource: Resource, namespace: str | None, name: str, body: Object) -> Object:
        """PATCH with a JSON merge patch (RFC 7386)."""
        return self._request(
            "PATCH", resource.path(namespace, name), body=body, content_type="application/merge-patch+json"
        )

    def delete(self, resource: Resource, namespace: str | None, name: str, uid: str | None = None) -> None:
        """DELETE; what belongs to the object is collected in the background, as kubectl does."""
        body = {"preconditions": {"uid": uid}} if uid else None
        self._request("DELETE", resource.path(namespace, name), {"propagationPolicy": "Background"}, body)

    def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], out: BinaryIO, err: BinaryIO
    ) -> int:
        """The pod's subresource `exec`, over a websocket."""
        path = f"{PODS.path(namespace, pod)}/exec"
        return kubestreams.execute(self._client, path, container, command, out, err)

    def dial(self, namespace: str, pod: str, port: int) -> Tunnel:
        """The pod's subresource `portforward`, over a websocket."""
        return kubestreams.dial(self._client, f"{PODS.path(namespace, pod)}/portforward", port)

    def log(self, namespace: str, pod: str, container: str, since: str | None = None) -> Iterator[bytes]:
        """The pod's subresource `log`, followed."""
        query = {"container": container, "follow": "true", "timestamps": "true", "sinceTime": since}
        with self._reachable():
            response = self._answer("GET", f"{PODS.path(namespace, pod)}/log", query, timeout=(_TIMEOUT[0], None))
            rest = b""
            for piece in response.response.stream():
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
            if rest:
                yield rest

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        with self._reachable():
            text = self._answer(method, path, query, body, content_type).read()
        try:
            answer: Object = json.loads(text)
        except ValueError as error:
            host = self._client.configuration.host
            raise KubeApiError(0, "NoKubernetes", f"what answers at {host} is no Kubernetes API") from error
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: tuple[float, float | None] = _TIMEOUT,
    ) -> Any:
        """The library's response, not yet read; KubeApiError for a refusal."""
        request = self._client.param_serialize(
            method,
            path,
            query_params=[(name, value) for name, value in (query or {}).items() if value],
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*request, _request_timeout=timeout)
        if not 200 <= response.status <= 299:
            raise kubestreams.refusal(response.status, response.read())
        return response

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """Raises KubeApiError where the API cannot be reached."""
        # Both come with the library of `connect`.
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            yield
        except (HTTPError, ApiException) as error:  # the latter for TLS
            host = self._client.configuration.host
            raise KubeApiError(0, "Unreachable", f"the Kubernetes API at {host} cannot be reached") from error
