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
    return {"status": {"conditions": list(conditions), "containerStatuses": containers}}


READY = pod({"type": "Ready", "status": "True"})


def seen(known: FileServer, pod: dict[str, Any] | None, **observed: str) -> FileServer:
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
