from datetime import timedelta
from typing import Any

from tests.unit.builders import NOW
from tests.unit.plan.test_file_server import server

from batchai.api.fileserver import FileServer
from batchai.status.conditions import find
from batchai.status.file_server import Observed, status

LATER = NOW + timedelta(minutes=1)


def pod(*conditions: dict[str, str], **waiting: str) -> dict[str, Any]:
    containers = [{"name": "nfs", "state": {"waiting": waiting}}] if waiting else []
    return {"metadata": {}, "spec": {}, "status": {"conditions": list(conditions), "containerStatuses": containers}}


READY = pod({"type": "Ready", "status": "True"})


def seen(known: FileServer, pod: dict[str, Any] | None, **observed: str | None) -> FileServer:
    found = {"internal_ip": "10.0.0.1", "public_ip": None, **observed}
    return known.model_copy(update={"status": status(known, Observed(**found, pod=pod), LATER)})


def said(found: FileServer) -> tuple[str | None, str, str, str]:
    ready = find(found.status.conditions, "Ready")
    assert ready is not None
    return found.status.provisioning_state, ready.status, ready.reason, ready.message


def test_it_is_there_once_it_has_served() -> None:
    serving = seen(server(), READY, public_ip="1.2.3.4")
    assert said(serving)[:2] == ("succeeded", "True")
    mount = serving.status.mount_settings
    assert mount is not None
    assert (mount.mount_point, mount.file_server_internal_ip, mount.file_server_public_ip) == (
        "/data",
        "10.0.0.1",
        "1.2.3.4",
    )
    assert said(seen(serving, None))[:3] == ("succeeded", "False", "PodMissing")


def test_it_says_what_it_waits_for() -> None:
    assert said(seen(server(), None)) == ("creating", "False", "PodMissing", "its pod is being made")
    unbound = pod({"type": "PodScheduled", "status": "False", "message": "pod has unbound claims"})
    assert said(seen(server(), unbound))[2:] == (
        "Unschedulable",
        "its pod waits for a node or its claim: pod has unbound claims",
    )
    pulling = pod({"type": "Ready", "status": "False"}, reason="ErrImagePull", message="no such image")
    assert said(seen(server(), pulling))[2:] == ("ContainerWaiting", "container nfs: ErrImagePull: no such image")
    assert said(seen(server(), pod({"type": "Ready", "status": "False"})))[2] == "NotServing"


def test_a_node_that_fell_silent_keeps_the_disk_and_that_is_said() -> None:
    ending = {**READY, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": "n7"}}
    state, ready, reason, message = said(seen(seen(server(), READY), {**ending, "status": {}}))
    assert (state, ready, reason) == ("succeeded", "False", "PodEnding")
    assert "on node n7 is ending" in message
    assert "node.kubernetes.io/out-of-service" in message


def test_a_load_balancer_that_is_refused_does_not_keep_it_from_serving() -> None:
    state, ready, reason, message = said(seen(server(), READY, refused="exceeded quota"))
    assert (state, ready, reason) == ("succeeded", "False", "LoadBalancerRefused")
    assert message.endswith("exceeded quota")
