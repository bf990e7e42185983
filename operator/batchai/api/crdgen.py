"""From a pydantic model to a CustomResourceDefinition with a structural schema.

Anything that has no structural form is an error here, not a surprise in the API server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchai.api import names
from batchai.api.base import Model
from batchai.api.schema import Rule, with_rules

Schema = dict[str, Any]

_RULES = "x-kubernetes-validations"

_KEPT = frozenset(
    {
        "type",
        "description",
        "enum",
        "format",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "maxItems",
        "pattern",
        "default",
        "required",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        _RULES,
    }
)
_DROPPED = frozenset({"title", "$defs", "$ref"})


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; priority 1 is shown by -o wide only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """What a CRD says beside its schema. rules are on the whole resource, spec_rules on its spec."""

    name: str
    plural: str
    short: str
    model: type[Model]
    columns: Sequence[Column] = ()
    rules: Sequence[Rule] = ()
    spec_rules: Sequence[Rule] = ()
    scale: Mapping[str, str] | None = None
    selectable: Sequence[str] = ()


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind. Raises ValueError for a model without a structural form."""
    generated = kind.model.model_json_schema(by_alias=True)
    definitions = generated.get("$defs", {})
    properties = generated["properties"]
    spec = with_rules(_structural(properties["spec"], definitions, "spec"), *kind.spec_rules)
    root: Schema = {
        "type": "object",
        "description": generated["description"],
        "properties": {"spec": spec, "status": _structural(properties["status"], definitions, "status")},
    }
    if "spec" in generated.get("required", ()):
        root["required"] = ["spec"]
    root = with_rules(root, *kind.rules)
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale:
        subresources["scale"] = dict(kind.scale)
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": subresources,
        "additionalPrinterColumns": [_column(column) for column in (*kind.columns, _AGE)],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": [names.CATEGORY],
            },
            "versions": [version],
        },
    }


_AGE = Column("Age", ".metadata.creationTimestamp", "date")


def _column(column: Column) -> dict[str, Any]:
    wire: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        wire["priority"] = column.priority
    return wire


def _structural(schema: Schema | bool, definitions: Mapping[str, Schema], path: str) -> Schema:
    if isinstance(schema, bool):
        raise ValueError(f"{path} may be anything, which has no structural form")  # noqa: TRY004 - not a caller's type
    schema = _resolved(schema, definitions, path)
    result = {key: value for key, value in schema.items() if key in _KEPT}
    if (default := _default(schema.get("default"))) in (None, {}):
        result.pop("default", None)
    else:
        result["default"] = default
    if schema.get("type") == "object" and "properties" in schema:
        result["properties"] = {
            name: _structural(value, definitions, f"{path}.{name}") for name, value in schema["properties"].items()
        }
    elif schema.get("type") == "object":
        result["additionalProperties"] = _structural(schema["additionalProperties"], definitions, f"{path}.*")
    elif schema.get("type") == "array":
        result["items"] = _structural(schema["items"], definitions, f"{path}[]")
    elif schema.get("type") == "integer":
        result["format"] = "int32" if abs(schema.get("maximum", 0)) else "int64"
    if "type" not in result:
        raise ValueError(f"{path} has no structural form: {sorted(schema)}")
    return result


def _default(value: Any) -> Any:
    """A default without what is merely absent."""
    if isinstance(value, Mapping):
        return {key: inner for key, member in value.items() if (inner := _default(member)) is not None}
    return value


def _resolved(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    """The schema with its reference or its optional inlined; what stands beside them wins, rules add up."""
    if "anyOf" in schema:
        members = [member for member in schema["anyOf"] if member.get("type") != "null"]
        if len(members) != 1:
            raise ValueError(f"{path} is a union, which has no structural form")
        schema = _merged(members[0], schema, without="anyOf")
    if "$ref" in schema:
        target = _resolved(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions, path)
        schema = _merged(target, schema, without="$ref")
    if "const" in schema:
        schema = {**{key: value for key, value in schema.items() if key != "const"}, "enum": [schema["const"]]}
    unknown = schema.keys() - _KEPT - _DROPPED - {"properties", "additionalProperties", "items"}
    if unknown:
        raise ValueError(f"{path} uses {', '.join(sorted(unknown))}, which has no structural form")
    return schema


def _merged(inner: Schema, outer: Schema, *, without: str) -> Schema:
    rules = [*inner.get(_RULES, ()), *outer.get(_RULES, ())]
    merged = {**inner, **{key: value for key, value in outer.items() if key != without}}
    return {**merged, _RULES: rules} if rules else merged
