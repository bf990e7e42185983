"""maxWallClockTime in its three spellings."""

from datetime import timedelta

import pytest

from batchai.api.durations import MAXIMUM, format_duration, parse_duration
from batchai.errors import SpecError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P7D", timedelta(days=7)),
        ("PT2H30M", timedelta(hours=2, minutes=30)),
        ("P1DT1S", timedelta(days=1, seconds=1)),
        ("PT90M", timedelta(minutes=90)),
        ("PT1.9S", timedelta(seconds=1)),
        ("7.00:00:00", timedelta(days=7)),
        ("01:02:03", timedelta(hours=1, minutes=2, seconds=3)),
        ("1.02:03:04.5000000", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("7 days, 0:00:00", timedelta(days=7)),
        ("1 day, 2:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("2:03:04", timedelta(hours=2, minutes=3, seconds=4)),
        ("9999.23:59:59", timedelta(days=9999, hours=23, minutes=59, seconds=59)),
    ],
)
def test_spellings(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "PT", "P7DT", "7", "7d", "P7d", "P1W", "P1Y", "P-1D", "-1:00:00", "1:00", "7.0:0:0", "7 days"),
        *("P7D ", "P7D\n", "P\N{ARABIC-INDIC DIGIT SEVEN}D", "P99999D", "PT9999999S"),
    ],
)
def test_everything_else_is_named(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_duration(text)
    assert caught.value.field == "maxWallClockTime"
    assert f"'{text}' is not a duration" in caught.value.message


def test_printed_as_az_did() -> None:
    assert format_duration(MAXIMUM) == "7 days, 0:00:00"
    assert format_duration(timedelta(days=1, seconds=1)) == "1 day, 0:00:01"
    assert format_duration(timedelta(minutes=90)) == "1:30:00"
