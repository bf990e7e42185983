"""The models read and write every field of their CRDs."""

from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.builders import job, job_raw

from batchai.api.cluster import Cluster
from batchai.api.crdgen import Kind, crd
from batchai.api.generate import KINDS
from batchai.api.job import TOOLKITS, JobSpec
from batchai.api.mounts import default_secret_name
from batchai.errors import SpecError

Object = dict[str, Any]

TEXTS = {
    "fileMode": "0755",
    "directoryMode": "0700",
    "communicationBackend": "Gloo",
    "languageType": "python",
    "shmSize": "16gb",
}


def example(schema: Object, name: str = "") -> Any:
    """A value with every field of the schema; none is its field's default."""
    match schema["type"]:
        case "object" if "properties" in schema:
            return {key: example(field, key) for key, field in schema["properties"].items()}
        case "object":
            return {"key": example(schema["additionalProperties"])}
        case "array":
            return [example(schema["items"])]
        case "boolean":
            return not schema.get("default", False)
        case "integer":
            return schema.get("default", schema.get("minimum", 6)) + 1
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != schema.get("default"))
    if schema.get("format") == "date-time":
        return "2026-05-04T03:02:01Z"
    return TEXTS.get(name, f"{name}-text")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_complete_body_round_trips(kind: Kind) -> None:
    root = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    body = {"metadata": {"name": "test", "namespace": "ns"}, **example(root)}
    model = kind.model.model_validate(body)
    written = model.model_dump(by_alias=True, mode="json")
    assert {part: written[part] for part in ("spec", "status")} == {part: body[part] for part in ("spec", "status")}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_defaults_are_those_of_the_crd(kind: Kind) -> None:
    """A model without a field says what the API server would have filled in."""
    spec = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    required = {name: example(spec["properties"][name], name) for name in spec.get("required", ())}
    model = kind.model.model_validate({"metadata": {"name": "test"}, "spec": required})
    written = model.model_dump(by_alias=True, mode="json", exclude_none=True)["spec"]
    defaults = {name: field["default"] for name, field in spec["properties"].items() if "default" in field}
    assert written == {**defaults, **required}


def test_unknown_fields_are_ignored_and_models_do_not_change() -> None:
    spec = job(fromTheFuture=1).spec
    assert "fromTheFuture" not in spec.model_dump(by_alias=True)
    with pytest.raises(ValidationError, match="frozen"):
        spec.node_count = 2


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValidationError, match=r"spec\.vmSize"):
        Cluster.model_validate({"metadata": {"name": "nc6"}, "spec": {"workspace": "work"}})


@pytest.mark.parametrize(("field", "tool_type"), TOOLKITS.items())
def test_the_toolkit_is_the_settings_field_that_is_set(field: str, tool_type: str) -> None:
    settings = {"commandLine": "true", "pythonScriptFilePath": "a.py"}
    spec = job(**{field: settings}).spec
    name, value = spec.toolkit()
    assert name == field
    assert settings.items() & value.model_dump(by_alias=True).items()
    assert spec.tool_type == tool_type


def test_tool_types_are_the_service_s() -> None:
    assert set(TOOLKITS.values()) == {
        "cntk",
        "pytorch",
        "tensorflow",
        "caffe",
        "caffe2",
        "chainer",
        "custom",
        "mpi",
        "horovod",
    }
    settings = {info.alias for name, info in JobSpec.model_fields.items() if name.endswith("_settings") and info.alias}
    assert settings - {"containerSettings"} == TOOLKITS.keys()


@pytest.mark.parametrize("extra", [{}, {"customMpiSettings": {"commandLine": "true"}}])
def test_none_or_two_toolkits_are_an_error(extra: Object) -> None:
    raw = job_raw()["spec"]
    if not extra:
        del raw["customToolkitSettings"]
    with pytest.raises(SpecError, match=r"^spec: set exactly one of cntkSettings, pyTorchSettings"):
        JobSpec.model_validate({**raw, **extra}).toolkit()


def test_the_secret_of_an_account() -> None:
    assert default_secret_name("acc") == "batchai-storage-acc"
