import io
import json
import logging
from typing import Any

import pytest

from batchai.errors import SpecError
from batchai.logs import about, formatter


def lines(name: str, *, fails: bool = False) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(name))
    log = logging.Logger("batchai.test")
    log.addHandler(handler)
    log.info("outside: %s", 'a "quoted"\nline')
    with about("Job", "ns", "train", 2):
        try:
            int("boom")
        except ValueError as error:
            log.warning("inside: %s", type(error).__name__, exc_info=fails)
        with about("Cluster", "ns", "nc6"):
            log.info("another object")
        log.info("again")
    log.info("outside")
    return stream.getvalue()


def test_json_lines_name_the_object_and_the_attempt() -> None:
    found: list[dict[str, Any]] = [json.loads(line) for line in lines("json", fails=True).splitlines()]
    assert [set(line) - {"time", "level", "logger", "message"} for line in found] == [
        set(),
        {"kind", "namespace", "name", "attempt", "exception"},
        {"kind", "namespace", "name"},
        {"kind", "namespace", "name", "attempt"},
        set(),
    ]
    assert found[0]["message"] == 'outside: a "quoted"\nline'
    assert found[1] | {"time": "", "exception": ""} == {
        "time": "",
        "level": "WARNING",
        "logger": "batchai.test",
        "message": "inside: ValueError",
        "kind": "Job",
        "namespace": "ns",
        "name": "train",
        "attempt": 2,
        "exception": "",
    }
    assert found[1]["exception"].endswith("ValueError: invalid literal for int() with base 10: 'boom'")
    assert found[1]["time"].endswith("Z")
    assert found[2]["kind"] == "Cluster"


def test_text_lines_end_with_the_object() -> None:
    found = lines("text").splitlines()
    assert found[2].endswith("WARNING batchai.test inside: ValueError (Job ns/train, attempt 2)")
    assert found[3].endswith("INFO batchai.test another object (Cluster ns/nc6)")
    assert found[5].endswith("outside")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(SpecError, match="BATCHAI_LOG_FORMAT: must be json or text, not 'xml'"):
        formatter("xml")
