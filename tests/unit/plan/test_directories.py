import pytest
from tests.unit.builders import SUBSCRIPTION, UID, job

from batchai.errors import SpecError
from batchai.plan.directories import JobIdentity, output_location, output_paths, stdouterr_path

IDENTITY = JobIdentity(SUBSCRIPTION, "ns", "quickstart", "exp", "cntk_python_1", UID)
SEGMENT = f"{SUBSCRIPTION}/ns/workspaces/quickstart/experiments/exp/jobs/cntk_python_1/{UID}"
OUTPUTS = [
    {"id": "MODEL", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs/"},
    {"id": "OTHER", "pathPrefix": "${AZ_BATCHAI_JOB_MOUNT_ROOT}/logs", "pathSuffix": "a/b"},
    {"id": "LOCAL", "pathPrefix": "$AZ_BATCHAI_JOB_TEMP_DIR"},
]


def test_segment_and_back() -> None:
    assert IDENTITY.segment == SEGMENT
    assert JobIdentity.of_segment(SEGMENT) == IDENTITY


def test_paths_on_the_node() -> None:
    spec = job(outputDirectories=OUTPUTS).spec
    root = "/mnt/batch/tasks/shared/LS_root/jobs/quickstart/exp/cntk_python_1/mounts/logs"
    assert stdouterr_path(spec, IDENTITY) == f"{root}/{SEGMENT}/stdouterr"
    assert output_paths(spec, IDENTITY) == {
        "MODEL": f"{root}/{SEGMENT}/outputs",
        "OTHER": f"{root}/{SEGMENT}/outputs/a/b",
        "LOCAL": f"/mnt/batch/tasks/shared/LS_root/jobs/{SEGMENT}/outputs",
    }


def test_location_in_storage() -> None:
    spec = job(outputDirectories=OUTPUTS).spec
    model = output_location(spec, IDENTITY, "MODEL")
    assert model is not None
    assert (model.kind, model.account, model.container) == ("file", "acc", "logs")
    assert model.path == f"{SEGMENT}/outputs"
    assert model.secret_name == "batchai-storage-acc"
    logs = output_location(spec, IDENTITY, "stdouterr")
    assert logs is not None
    assert logs.path == f"{SEGMENT}/stdouterr"


def test_what_is_not_in_azure_storage() -> None:
    spec = job(outputDirectories=OUTPUTS).spec
    assert output_location(spec, IDENTITY, "LOCAL") is None
    with pytest.raises(SpecError, match="it has MODEL"):
        output_location(spec, IDENTITY, "NONE")


def test_a_mount_path_is_not_matched_by_its_beginning() -> None:
    spec = job(outputDirectories=[{"id": "X", "pathPrefix": "$AZ_BATCHAI_JOB_MOUNT_ROOT/logs2"}]).spec
    assert output_location(spec, IDENTITY, "X") is None
