"""What models say beside their types: CEL rules and limits of their CRD schema."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Rule:
    """A CEL rule of the field that it annotates; the message is what users read (`x-kubernetes-validations`).

    detail: an expression whose value is said in the place of the message.
    """

    rule: str
    message: str
    detail: str | None = None

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Adds the rule to the JSON schema."""
        schema: dict[str, Any] = handler(core_schema)
        return with_rules(schema, self)


def with_rules(schema: dict[str, Any], *rules: Rule) -> dict[str, Any]:
    """A schema with more rules."""
    if not rules:
        return schema
    present = schema.get("x-kubernetes-validations", [])
    added = [
        {
            "rule": rule.rule,
            "message": rule.message,
            **({"messageExpression": rule.detail} if rule.detail is not None else {}),
        }
        for rule in rules
    ]
    return {**schema, "x-kubernetes-validations": [*present, *added]}


def text(*, maximum: int, minimum: int | None = None, pattern: str | None = None) -> FieldInfo:
    """Limits of a string. CEL's cost estimate needs a maximum on everything that rules look at."""
    info: FieldInfo = Field(max_length=maximum, min_length=minimum, pattern=pattern)
    return info


def keyed(key: str) -> FieldInfo:
    """A list whose entries differ in a field; unlike a rule that compares them, this costs long lists nothing."""
    info: FieldInfo = Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    return info
