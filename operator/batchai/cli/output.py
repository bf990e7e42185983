"""Results as text: JSON, coloured JSON, YAML, tab-separated values and tables, after a JMESPath query."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from batchai.cli.problems import UsageProblem
from batchai.cli.screen import PIPE, Screen

FORMATS = ("json", "jsonc", "table", "tsv", "yaml")

_GAP = "  "
_NARROWEST = 5
"""Characters that every column of a table keeps."""

Row = Mapping[str, object]
TableRow = Callable[[dict[str, Any]], Row | Sequence[Row]]
"""One entry of a result as the columns of its table: one row, or several."""


def render(
    result: Any, form: str, *, query: str | None = None, row: TableRow | None = None, screen: Screen = PIPE
) -> str:
    """The text of a result, without a line feed at its end; empty where there is nothing to print.

    `row` makes the table's columns; a query makes its own, as in az. `screen` is where the text will be seen.
    """
    if query:
        result = _search(query, result)
        row = None
    if result is None:
        return ""
    match form:
        case "table":
            return _table(result, row, screen.columns)
        case "tsv":
            return "\n".join(_tsv(result))
        case "yaml":
            import yaml  # noqa: PLC0415 - rarely needed

            return str(yaml.safe_dump(result, allow_unicode=True, sort_keys=True)).rstrip("\n")
        case _:
            text = json.dumps(result, ensure_ascii=False, indent=2, sort_keys=True)
            return _coloured(text) if form == "jsonc" and screen.colour else text


def _search(query: str, result: Any) -> Any:
    import jmespath  # noqa: PLC0415 - rarely needed

    try:
        return jmespath.search(query, result)
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise UsageProblem(f"--query '{query}' is not JMESPath: {reason}", "See https://jmespath.org.") from error


def _coloured(text: str) -> str:
    key, string, word = "\033[34m", "\033[32m", "\033[35m"

    def paint(match: re.Match[str]) -> str:
        colour = key if match["key"] else string if match["string"] else word
        return f"{colour}{match[0]}\033[0m"

    quoted = r'"(?:[^"\\]|\\.)*"'
    pattern = rf"(?P<key>{quoted}(?=: ))|(?P<string>{quoted})|(?:true|false|null|-?\d[\d.eE+-]*)"
    return re.sub(pattern, paint, text)


def _tsv(result: Any) -> Iterable[str]:
    if isinstance(result, list):
        for item in result:
            cells = item if isinstance(item, list) else _values(item)
            yield "\t".join(_cell(value) for value in cells)
    else:
        yield "\t".join(_cell(value) for value in _values(result))


def _values(item: Any) -> Sequence[Any]:
    # Keys in their order of sorting, so that a column keeps its place.
    return [item[name] for name in sorted(item)] if isinstance(item, dict) else [item]


def _cell(value: Any) -> str:
    match value:
        case None | dict():
            return ""
        case bool():
            return str(value).lower()
        case list():
            return str(len(value))
        case _:
            return str(value).replace("\t", " ").replace("\n", " ")


def _table(result: Any, row: TableRow | None, columns: int | None) -> str:
    items = result if isinstance(result, list) else [result]
    rows = [line for item in items for line in _rows(item, row or _plain_row)]
    if not rows:
        return ""
    # Columns in the order of their first appearance; rows of a query may differ.
    names = list(dict.fromkeys(name for line in rows for name in line))
    cells = [[_cell(line.get(name)) for name in names] for line in rows]
    widths = [max(len(text) for text in column) for column in zip(names, *cells, strict=True)]

    if columns is not None:
        widths = _fitted(widths, columns)

    def line(texts: Iterable[str]) -> str:
        return _GAP.join(_cut(text, width).ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()

    return "\n".join([line(names), line("-" * width for width in widths), *map(line, cells)])


def _rows(item: Any, row: TableRow) -> Sequence[Row]:
    made = row(item)
    return [made] if isinstance(made, Mapping) else made


def _fitted(widths: Sequence[int], columns: int) -> list[int]:
    """The widths with the widest columns narrowed until a line fits, as far as they may be."""
    fitted = list(widths)
    while sum(fitted) + len(_GAP) * (len(fitted) - 1) > columns and max(fitted) > _NARROWEST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _plain_row(item: Any) -> Row:
    if isinstance(item, dict):
        simple = {k: v for k, v in sorted(item.items()) if not isinstance(v, dict | list)}
        return {name[:1].upper() + name[1:]: value for name, value in simple.items()}
    if isinstance(item, list):
        return {f"Column{number}": value for number, value in enumerate(item, 1)}
    return {"Result": item}
