"""The HTTP client against a server on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from batchai.cli.kube import JOBS, NAMESPACES, HttpKube
from batchai.cli.problems import Problem
from batchai.errors import KubeApiError


class Server(ThreadingHTTPServer):
    """Answers with what `answers` holds next and keeps what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, dict[str, list[str]], Any, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        media = self.headers.get("Content-Type")
        self.server.asked.append((self.command, parts.path, parse_qs(parts.query), body, media))
        status, answer = self.server.answers.pop(0)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - the names that the library calls
    do_PATCH = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def connect(tmp_path: Path, port: int) -> HttpKube:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return HttpKube.connect(str(path), None)


@pytest.fixture
def kube(server: Server, tmp_path: Path) -> HttpKube:
    return connect(tmp_path, server.server_address[1])


ROOT = "/apis/batchai.dev/v1alpha1"


def test_requests(kube: HttpKube, server: Server) -> None:
    server.answers = [(200, {"metadata": {"name": "j"}})] * 4
    assert kube.get(JOBS, "ns", "j") == {"metadata": {"name": "j"}}
    kube.create(JOBS, "ns", {"spec": {"a": 1}})
    kube.patch(JOBS, "ns", "j", {"spec": {"terminate": True}})
    kube.delete(NAMESPACES, None, "ns")
    assert server.asked == [
        ("GET", f"{ROOT}/namespaces/ns/jobs/j", {}, None, "application/json"),
        ("POST", f"{ROOT}/namespaces/ns/jobs", {}, {"spec": {"a": 1}}, "application/json"),
        (
            "PATCH",
            f"{ROOT}/namespaces/ns/jobs/j",
            {},
            {"spec": {"terminate": True}},
            "application/merge-patch+json",
        ),
        ("DELETE", "/api/v1/namespaces/ns", {"propagationPolicy": ["Background"]}, None, "application/json"),
    ]


def test_names_do_not_lead_astray(kube: HttpKube, server: Server) -> None:
    server.answers = [(200, {})]
    kube.get(JOBS, "a/../b", "c?d")
    assert server.asked[0][1:3] == (f"{ROOT}/namespaces/a%2F..%2Fb/jobs/c%3Fd", {})


def test_lists_come_page_by_page(kube: HttpKube, server: Server) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "next"}, "items": [1]}),
        (200, {"metadata": {}, "items": [2]}),
    ]
    assert kube.list(JOBS, None, {"batchai.dev/name": "j_1", "b": "c"}) == [1, 2]
    assert [(path, query) for _, path, query, _, _ in server.asked] == [
        (f"{ROOT}/jobs", {"limit": ["500"], "labelSelector": ["batchai.dev/name=j_1,b=c"], **more})
        for more in ({}, {"continue": ["next"]})
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"reason": "NotFound", "message": 'jobs "j" not found'}, (404, "NotFound", 'jobs "j" not found')),
        ({"reason": "AlreadyExists", "message": "m"}, (409, "AlreadyExists", "m")),
        (b"404 page not found\n", (404, "", "404 page not found")),
        (b"", (503, "", "no reason given")),
    ],
)
def test_refusals(kube: HttpKube, server: Server, answer: Any, error: tuple[int, str, str]) -> None:
    server.answers = [(error[0], answer)]
    with pytest.raises(KubeApiError) as caught:
        kube.get(JOBS, "ns", "j")
    assert (caught.value.status, caught.value.reason, caught.value.message) == error


def test_logs_come_line_by_line(kube: HttpKube, server: Server) -> None:
    server.answers = [(200, b"2026-01-02T03:04:05.1Z one\n2026-01-02T03:04:05.2Z \n2026-01-02T03:04:05.3Z rest")]
    assert list(kube.log("ns", "p", "job", "2026-01-02T03:04:05Z")) == [
        b"2026-01-02T03:04:05.1Z one",
        b"2026-01-02T03:04:05.2Z ",
        b"2026-01-02T03:04:05.3Z rest",
    ]
    assert server.asked[0][1:3] == (
        "/api/v1/namespaces/ns/pods/p/log",
        {"container": ["job"], "follow": ["true"], "timestamps": ["true"], "sinceTime": ["2026-01-02T03:04:05Z"]},
    )
    server.answers = [(403, {"reason": "Forbidden", "message": "m"})]
    with pytest.raises(KubeApiError, match="m"):
        list(kube.log("ns", "p", "job"))


@pytest.mark.parametrize(
    "ask", [lambda kube: kube.execute("ns", "p", "job", ["true"], None, None), lambda kube: kube.dial("ns", "p", 1)]
)
def test_refusals_of_connections(kube: HttpKube, server: Server, ask: Any) -> None:
    server.answers = [(403, {"reason": "Forbidden", "message": "you may not"})]
    with pytest.raises(KubeApiError, match="you may not") as caught:
        ask(kube)
    assert caught.value.status == 403


def test_unreachable(tmp_path: Path) -> None:
    with pytest.raises(KubeApiError, match=r"http://127.0.0.1:1 cannot be reached") as caught:
        connect(tmp_path, 1).get(JOBS, "ns", "j")
    assert caught.value.status == 0


def test_an_unknown_context(tmp_path: Path) -> None:
    connect(tmp_path, 1)
    with pytest.raises(Problem, match=r"no cluster to speak to: .*other"):
        HttpKube.connect(str(tmp_path / "kubeconfig"), "other")


def test_what_answers_without_being_kubernetes(kube: HttpKube, server: Server) -> None:
    server.answers = [(200, b"<html>Sign in</html>")]
    with pytest.raises(KubeApiError, match="is no Kubernetes API"):
        kube.get(JOBS, "ns", "j")


def test_a_deletion_may_be_of_one_object_only(kube: HttpKube, server: Server) -> None:
    server.answers = [(200, {})]
    kube.delete(JOBS, "ns", "j", "u")
    assert server.asked[0][3] == {"preconditions": {"uid": "u"}}


@pytest.mark.parametrize(
    "text", ["a: [", "clusters: [{name: k, cluster: {server: https://k, certificate-authority-data: x}}]"]
)
def test_a_bad_kubeconfig_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    context = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {}}]"
    path.write_text(f"{text}\n{context}")
    with pytest.raises(Problem, match="no cluster to speak to"):
        HttpKube.connect(str(path), None)
