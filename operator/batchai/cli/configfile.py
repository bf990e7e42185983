"""Config files of `az batchai` (job.json, cluster.json): reading, placeholders, checks.

A file is `{"$schema": .., "properties": {..}}`, the body of the service's create operation (Batch AI
reference §8).
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from batchai.cli.problems import UsageProblem
from batchai.errors import KubeApiError

Properties = dict[str, Any]

ACCOUNT_PLACEHOLDERS = ("<YOUR_STORAGE_ACCOUNT>", "<AZURE_BATCHAI_STORAGE_ACCOUNT>")
KEY_PLACEHOLDER = "<AZURE_BATCHAI_STORAGE_KEY>"

_COMMENTS = frozenset({"$schema", "comment", "_comment"})


def read(path: str) -> Properties:
    """The properties of a config file, without nulls and comments; UsageProblem names file and place."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageProblem(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path}: is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        raise UsageProblem(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    properties = content.get("properties") if isinstance(content, dict) else None
    if not isinstance(properties, dict):
        raise UsageProblem(f'{path}: has no object "properties" at its top, where the settings belong.')
    cleaned: Properties = _without_nulls(properties)
    return cleaned


def fill_placeholders(volumes: Any, account: str | None, key: str | None) -> Any:
    """mountVolumes with the placeholders in accountName, azureFileUrl and accountKey replaced.

    A placeholder for which there is no value stays; it is no account's name, so it is met later.
    """
    if not isinstance(volumes, dict):
        return volumes

    def fill(name: str, value: Any) -> Any:
        match value:
            case dict():
                return {inner: fill(inner, item) for inner, item in value.items()}
            case list():
                return [fill(name, item) for item in value]
            case str() if account and name in ("accountName", "azureFileUrl"):
                for placeholder in ACCOUNT_PLACEHOLDERS:
                    value = value.replace(placeholder, account)
                return value
            case str() if key and name == "accountKey" and value == KEY_PLACEHOLDER:
                return key
            case _:
                return value

    return {name: fill(name, item) for name, item in volumes.items()}


def unknown_fields(model: type[BaseModel], data: Any, path: str) -> Iterator[str]:
    """Paths of the entries of `data` that `model` has no field for, but for comments."""
    fields = _fields(model)
    for name, value in data.items() if isinstance(data, dict) else ():
        if name in _COMMENTS:
            continue
        if name not in fields:
            yield f"{path}.{name}"
            continue
        inner = _model_in(fields[name])
        if inner is None:
            continue
        items = enumerate(value) if isinstance(value, list) else ()
        yield from unknown_fields(inner, value, f"{path}.{name}")
        for index, item in items:
            yield from unknown_fields(inner, item, f"{path}.{name}[{index}]")


def check_shape(model: type[BaseModel], data: Any, path: str) -> None:
    """Raises UsageProblem for the first entry that is no object, or no list, where the model has one.

    What completes a file goes by these; the values are checked when it is complete.
    """
    if not isinstance(data, dict):
        raise UsageProblem(f"{path}: is no object.")
    fields = _fields(model)
    for name, value in data.items():
        inner = _model_in(fields.get(name))
        if inner is None:
            continue
        if not _is_list(fields[name]):
            check_shape(inner, value, f"{path}.{name}")
            continue
        if not isinstance(value, list):
            raise UsageProblem(f"{path}.{name}: is no list.")
        for index, item in enumerate(value):
            check_shape(inner, item, f"{path}.{name}[{index}]")


def check(model: type[BaseModel], spec: Properties, source: str) -> None:
    """Raises UsageProblem with the first field that the model refuses; `source` is the file's name."""
    try:
        model.model_validate(spec)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageProblem(f"{source}: properties{field}: {reason[:1].lower()}{reason[1:]}.") from error


@contextmanager
def refusals_of(source: str) -> Iterator[None]:
    """What the API server says of a resource, as said of the file that it was made of."""
    try:
        yield
    except KubeApiError as error:
        _, found, reasons = error.message.partition(" is invalid: ")
        if error.status != 422 or not found:
            raise
        said = re.sub(r"\bspec\b", "properties", reasons.strip("[]")).replace(": Invalid value: ", ": ")
        raise UsageProblem(f"{source}: {said}") from error


def _without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: _without_nulls(item) for name, item in value.items() if item is not None and name not in _COMMENTS
            }
        case list():
            return [_without_nulls(item) for item in value if item is not None]
        case _:
            return value


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """The annotations of a model's fields, by their names in files."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _is_list(annotation: Any) -> bool:
    """Whether the values are lists: `list[Model]`, `list[Model] | None`."""
    if hasattr(annotation, "__metadata__") or get_origin(annotation) in (Union, UnionType):
        return any(map(_is_list, get_args(annotation)))
    return get_origin(annotation) is list


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `Model | None`, `list[Model]`; None where there is none, or a map."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, list):
        return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
    if hasattr(annotation, "__metadata__"):  # Annotated[...]
        return _model_in(get_args(annotation)[0])
    return None
