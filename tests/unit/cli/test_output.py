import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchai.cli.output import render
from batchai.cli.problems import UsageProblem

JOBS: list[dict[str, Any]] = [
    {"name": "a", "nodeCount": 1, "state": None, "cluster": {"id": "c"}},
    {"name": "grün", "nodeCount": 20, "state": "running", "cluster": {"id": "c"}},
]


def test_json_is_sorted_indented_and_unescaped() -> None:
    assert render({"b": "ü", "a": None}, "json") == '{\n  "a": null,\n  "b": "ü"\n}'


def test_a_query_that_finds_text_prints_json_text() -> None:
    assert render({"segment": "a/b"}, "json", query="segment") == '"a/b"'


@pytest.mark.parametrize("form", ["json", "jsonc", "table", "tsv", "yaml"])
def test_nothing_prints_nothing(form: str) -> None:
    assert render(None, form) == ""
    assert render({}, form, query="missing") == ""


def test_a_bad_query_is_a_usage_error() -> None:
    with pytest.raises(UsageProblem, match="JMESPath"):
        render({}, "json", query="a..b")


def test_table_of_a_list() -> None:
    def row(job: dict[str, Any]) -> dict[str, object]:
        return {"Name": job["name"], "Exit code": job["state"]}

    assert render(JOBS, "table", row=row).splitlines() == [
        "Name  Exit code",
        "----  ---------",
        "a",
        "grün  running",
    ]


def test_an_entry_of_several_rows() -> None:
    def rows(job: dict[str, Any]) -> list[dict[str, object]]:
        return [{"Name": job["name"], "Part": part} for part in range(2)]

    assert [line.split() for line in render(JOBS, "table", row=rows).splitlines()[2:]] == [
        ["a", "0"],
        ["a", "1"],
        ["grün", "0"],
        ["grün", "1"],
    ]


def test_table_of_a_query_shows_what_is_simple() -> None:
    assert render(JOBS, "table", query="[].{n: name, c: cluster}", row=lambda _: {}).splitlines() == [
        "N",
        "----",
        "a",
        "grün",
    ]
    assert render(JOBS, "table", query="[].[name, nodeCount]").splitlines()[-1] == "grün     20"
    assert render(JOBS, "table", query="[0].name").splitlines() == ["Result", "------", "a"]


def test_empty_table_prints_nothing() -> None:
    assert render([], "table", row=lambda _: {"Name": ""}) == ""


def test_tsv() -> None:
    assert render(JOBS, "tsv").splitlines() == ["\ta\t1\t", "\tgrün\t20\trunning"]
    assert render(JOBS, "tsv", query="[].[name, nodeCount]") == "a\t1\ngrün\t20"
    assert render("text", "tsv") == "text"
    assert render([True, None, [1, 2]], "tsv").splitlines() == ["true", "", "1\t2"]


def test_yaml() -> None:
    assert render({"b": [1], "a": "ü"}, "yaml") == "a: ü\nb:\n- 1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_colours_change_nothing_but_colours(value: Any) -> None:
    import re

    coloured = render([value], "jsonc")
    if "\x1b" not in json.dumps(value, ensure_ascii=False):
        assert json.loads(re.sub(r"\x1b\[\d+m", "", coloured)) == [value]
