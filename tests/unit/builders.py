"""Builders of resources for tests: valid unless a test says otherwise."""

from datetime import UTC, datetime
from typing import Any

from batchai.api.job import Job

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
UID = "0b5f1f0e-0000-4000-8000-000000000001"
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"


def job_raw(name: str = "train", **spec: Any) -> dict[str, Any]:
    """A job of the API; keyword arguments are fields of its spec in camelCase."""
    base: dict[str, Any] = {
        "experiment": "exp",
        "cluster": "nc6",
        "nodeCount": 1,
        "stdOutErrPathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs",
        "mountVolumes": {
            "azureFileShares": [
                {
                    "accountName": "acc",
                    "azureFileUrl": "https://acc.file.core.windows.net/logs",
                    "relativeMountPath": "logs",
                }
            ]
        },
    }
    if not any(field.endswith("Settings") and field != "containerSettings" for field in spec):
        base["customToolkitSettings"] = {"commandLine": "true"}
    return {
        "apiVersion": "batchai.dev/v1alpha1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": UID,
            "resourceVersion": "7",
            "generation": 1,
            "creationTimestamp": "2026-05-04T03:00:00Z",
        },
        "spec": {**base, **spec},
    }


def job(name: str = "train", status: dict[str, Any] | None = None, **spec: Any) -> Job:
    """The same as a model, with a status."""
    return Job.model_validate({**job_raw(name, **spec), "status": status or {}})


def pod_raw(
    index: int = 0,
    *,
    phase: str = "Pending",
    waiting: dict[str, Any] | None = None,
    terminated: dict[str, Any] | None = None,
    running: bool = False,
    **status: Any,
) -> dict[str, Any]:
    """A pod of the job above, as the API would show it."""
    state: dict[str, Any] = {}
    if waiting:
        state["waiting"] = waiting
    if terminated:
        state["terminated"] = terminated
    if running:
        state["running"] = {"startedAt": "2026-05-04T03:01:00Z"}
    return {
        "metadata": {"name": f"train-1-{index}", "namespace": "ns", "uid": f"pod-{index}"},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "job", "image": "busybox", "state": state}] if state else [],
            **status,
        },
    }
