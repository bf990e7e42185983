"""Durations survive each of their spellings, and the CRD's pattern says what can be read."""

import re
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from batchai.api.durations import CEL_IS_DURATION, format_duration, parse_duration
from batchai.errors import SpecError

durations = st.integers(0, 9999 * 86400).map(lambda seconds: timedelta(seconds=seconds))
texts = st.text("PTDHMS0123456789.:, days", max_size=20)


def spellings(value: timedelta) -> list[str]:
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return [
        format_duration(value),
        f"P{value.days}DT{hours}H{minutes}M{seconds}S",
        f"{value.days}.{hours:02}:{minutes:02}:{seconds:02}",
        f"{value.days}.{hours:02}:{minutes:02}:{seconds:02}.0000000",
    ]


@given(durations)
def test_every_spelling_is_read_back(value: timedelta) -> None:
    assert {parse_duration(text) for text in spellings(value)} == {value}


def admitted(text: str) -> bool:
    """What the rule of the CRD says, without the API server."""
    match = re.fullmatch(
        r"self\.matches\(r'(.*)'\) && self\.matches\('\[0-9\]'\) && !self\.endsWith\('T'\)", CEL_IS_DURATION
    )
    assert match
    return bool(re.search(match[1], text)) and bool(re.search("[0-9]", text)) and not text.endswith("T")


@given(st.one_of(texts, durations.flatmap(lambda value: st.sampled_from(spellings(value)))))
@example("PT")
@example("P7DT")
@example("P0D")
def test_the_crd_admits_what_can_be_read(text: str) -> None:
    try:
        parse_duration(text)
    except SpecError:
        assert not admitted(text)
    else:
        assert admitted(text)
