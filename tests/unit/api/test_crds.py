"""The generated CRDs: their form, their drift, and what the generator refuses."""

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from kubernetes.client import V1CustomResourceDefinition, V1JSONSchemaProps
from pydantic import Field, create_model

from batchai.api import generate, names
from batchai.api.base import Model
from batchai.api.crdgen import Column, Kind, crd
from batchai.api.generate import KINDS
from batchai.api.schema import Rule, keyed

Schema = dict[str, Any]
ROOT = Path(__file__).parents[3]


def schemas(schema: Schema) -> list[Schema]:
    inner = [*schema.get("properties", {}).values()]
    inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    return [schema, *(deeper for member in inner for deeper in schemas(member))]


def root_of(kind: Kind) -> Schema:
    root: Schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_crd_is_what_kubernetes_calls_one(kind: Kind) -> None:
    definition = V1CustomResourceDefinition.model_validate(crd(kind))
    assert definition.metadata.name == f"{kind.plural}.{names.GROUP}"
    assert definition.spec.scope == "Namespaced"
    assert definition.spec.names.short_names == [kind.short]
    assert definition.spec.names.categories == ["batchai"]
    (version,) = definition.spec.versions
    assert version.served
    assert version.storage
    assert version.additional_printer_columns[-1].name == "Age"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_schema_is_structural(kind: Kind) -> None:
    for schema in schemas(root_of(kind)):
        V1JSONSchemaProps.model_validate(schema)
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}
        assert schema.get("x-kubernetes-validations") != []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_of_users_is_explained(kind: Kind) -> None:
    for schema in schemas(root_of(kind)["properties"]["spec"]):
        for name, field in schema.get("properties", {}).items():
            assert field.get("description"), name


def test_users_texts_and_lists_are_bounded() -> None:
    """A rule on something without bounds is refused by the API server as too dear."""
    for kind in KINDS:
        for schema in schemas(root_of(kind)["properties"]["spec"]):
            if schema.get("x-kubernetes-validations"):
                assert schema["type"] == "object" or schema.keys() & {"maxLength", "maxItems"}


def field_of(kind: str, path: str) -> Schema:
    """The schema of a field of a kind's spec."""
    schema = root_of(next(found for found in KINDS if found.name == kind))["properties"]["spec"]
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema


def test_a_file_server_may_have_any_size() -> None:
    """The service kept some from clusters alone; Premium_LRS needs one of these."""
    assert "x-kubernetes-validations" in field_of("Cluster", "vmSize")
    assert "x-kubernetes-validations" not in field_of("FileServer", "vmSize")


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("Cluster", "nodeSetup.setupTask.secrets", "names no Secret"),
        ("Cluster", "nodeSetup.setupTask.stdOutErrPathPrefix", "stdOutErrPathPrefix must be an absolute path"),
        ("Cluster", "nodeSetup.mountVolumes.azureFileShares", "accountKeySecretReference is not enough"),
        ("Job", "mountVolumes.azureBlobFileSystems", "accountKeySecretReference is not enough"),
    ],
)
def test_what_could_never_work_is_refused_at_once(kind: str, path: str, message: str) -> None:
    """nodeSetup cannot be changed: later it would make every node unusable. The API server tries the rules."""
    found = schemas(field_of(kind, path))
    rules = [rule for schema in found for rule in schema.get("x-kubernetes-validations", ())]
    assert any(rule["message"].startswith(message) for rule in rules)


def test_the_files_are_what_the_models_say() -> None:
    for path, text in generate.artefacts().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run 'make generate'"
    assert generate.main(["--check"]) == 0


def test_drift_is_found_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    monkeypatch.setattr(generate, "_ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "crds/jobs.yaml" in capsys.readouterr().err
    assert generate.main(["--write"]) == 0
    assert generate.main(["--check"]) == 0
    jobs = tmp_path / "crds/jobs.yaml"
    jobs.write_text(jobs.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "not what the models say: crds/jobs.yaml; run 'make generate'\n"


# --- the generator ------------------------------------------------------------------------------------------------


def field_schema(annotation: Any, **field: Any) -> Schema:
    """The schema of the one field of a kind."""
    spec = create_model("Spec", __base__=Model, value=(annotation, Field(**field)))
    status = create_model("Status", __base__=Model)
    model = create_model("Thing", __base__=Model, __doc__="A thing.", spec=spec, status=(status, status()))
    generated: Schema = root_of(Kind("Thing", "things", "th", model))["properties"]["spec"]["properties"]["value"]
    return generated


class Part(Model):
    """Only for tests."""

    size: int = 3


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (int | str, "spec.value is a union"),
        (Annotated[str, Field(json_schema_extra={"not": {}})], "spec.value uses not"),
        (Annotated[int, Field(gt=0)], "spec.value uses exclusiveMinimum"),
        (tuple[int, str], "spec.value uses minItems, prefixItems"),
        (Any, "spec.value has no structural form"),
        (list[Any], r"spec.value\[\] has no structural form"),
        (dict[str, Any], r"spec.value\.\* may be anything"),
        (list[int | str], r"spec.value\[\] is a union"),
    ],
)
def test_what_has_no_structural_form_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        field_schema(annotation)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (int, {"type": "integer", "format": "int64"}),
        (Annotated[int, Field(ge=1, le=5)], {"type": "integer", "format": "int32", "minimum": 1, "maximum": 5}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (dict[str, str], {"type": "object", "additionalProperties": {"type": "string"}}),
        (
            Annotated[list[int], keyed("a")],
            {
                "type": "array",
                "items": {"type": "integer", "format": "int64"},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a"],
            },
        ),
        (str | None, {"type": "string"}),
        (
            Part,
            {
                "type": "object",
                "description": "Only for tests.",
                "properties": {"size": {"type": "integer", "format": "int64", "default": 3}},
            },
        ),
    ],
)
def test_what_has_a_structural_form(annotation: Any, expected: Schema) -> None:
    assert field_schema(annotation) == expected


def test_what_stands_at_the_field_wins_and_rules_add_up() -> None:
    inner, outer = Rule("self.size > 1", "Too small"), Rule("self.size < 9", "Too large")
    schema = field_schema(Annotated[Annotated[Part, inner] | None, outer], default=Part(size=4), description="A part.")
    assert schema["description"] == "A part."
    assert schema["default"] == {"size": 4}
    assert [rule["message"] for rule in schema["x-kubernetes-validations"]] == ["Too small", "Too large"]


def test_columns_rules_and_subresources() -> None:
    kind = next(kind for kind in KINDS if kind.name == "Cluster")
    version = crd(kind)["spec"]["versions"][0]
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.scaleSettings.manual.targetNodeCount"
    wide = Column("Nodes", '.status.conditions[?(@.type=="NodesAvailable")].message', priority=1)
    assert wide in kind.columns
    assert {"name": wide.name, "type": "string", "jsonPath": wide.path, "priority": 1} in version[
        "additionalPrinterColumns"
    ]
    assert "default" not in version["schema"]["openAPIV3Schema"]["properties"]["status"]
