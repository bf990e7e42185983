"""Connections into pods by websocket: commands in containers, and ports. Part of `kube`, which alone makes them."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from batchai.errors import KubeApiError

_Query = Sequence[tuple[str, str]]


def execute(client: Any, path: str, container: str, command: Sequence[str], out: BinaryIO, err: BinaryIO) -> int:
    """Runs a command in a container and copies what it writes, as it comes; returns its exit code.

    `path`: the pod's subresource `exec`.
    """
    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)]
    ws, url, headers = _prepare(client, path, query)
    with _translated(client):
        stream = ws.WSClient(client.configuration, url, headers, capture_all=False, binary=True)
        try:
            more = True
            while more:
                # Reading one channel may bring what is left of the other and the end: so once more after that.
                more = stream.is_open()
                stream.update(timeout=None)
                for channel, sink in ((ws.STDOUT_CHANNEL, out), (ws.STDERR_CHANNEL, err)):
                    if data := stream.read_channel(channel):
                        sink.write(data)
                        sink.flush()
            return exit_code(stream.read_channel(ws.ERROR_CHANNEL))
        finally:
            stream.close()


def exit_code(status: bytes) -> int:
    """The exit code in the Status that ends an exec. Raises KubeApiError where the command did not end by itself."""
    answer = json.loads(status) if status else {}
    if answer.get("status") == "Success":
        return 0
    for cause in (answer.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    message = answer.get("message", "the connection to the pod was lost")
    raise KubeApiError(answer.get("code", 0), answer.get("reason", ""), message)


@dataclass(frozen=True)
class Tunnel:
    """A connection to a port of a pod. fault: what the kubelet has said of it, as when nothing listens there."""

    socket: socket.socket
    fault: Callable[[], str | None]


def dial(client: Any, path: str, port: int) -> Tunnel:
    """A connection to a port of a pod; `path`: the pod's subresource `portforward`."""
    ws, url, headers = _prepare(client, path, [("ports", str(port))])
    with _translated(client):
        websocket = ws.create_websocket(client.configuration, url, headers)
    forward = ws.PortForward(websocket, [port])
    return Tunnel(forward.socket(port), lambda: forward.error(port))


def _prepare(client: Any, path: str, query: _Query) -> tuple[Any, str, Any]:
    """The library's module, the URL and the headers of a request."""
    from kubernetes.stream import ws_client  # noqa: PLC0415 - takes long to import

    ws: Any = ws_client  # without types in the library
    _, url, headers, _, _ = client.param_serialize(
        "GET", path, query_params=list(query), header_params={}, auth_settings=["BearerToken"]
    )
    return ws, ws.get_websocket_url(url), headers


@contextmanager
def _translated(client: Any) -> Iterator[None]:
    """Raises KubeApiError for what goes wrong with a websocket."""
    from websocket import WebSocketBadStatusException, WebSocketException  # noqa: PLC0415 - as above

    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads our output has enough
    except WebSocketBadStatusException as error:
        raise refusal(error.status_code, error.resp_body or b"") from error
    except (WebSocketException, OSError) as error:
        message = f"the Kubernetes API at {client.configuration.host} cannot be reached"
        raise KubeApiError(0, "Unreachable", message) from error


def refusal(status: int, text: bytes) -> KubeApiError:
    """The error of an answer: a Status object, or what a proxy or a missing path says."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return KubeApiError(status, "", text.decode(errors="replace").strip()[:200] or "no reason given")
    return KubeApiError(status, answer.get("reason", ""), answer.get("message", "no reason given"))
