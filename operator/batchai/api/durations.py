"""maxWallClockTime in its three spellings (Batch AI reference §12)."""

import re
from datetime import timedelta

from batchai.errors import SpecError

MAXIMUM = timedelta(days=7)
"""The service's ceiling (reference §1.5)."""

_ISO = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.\d+)?S)?)?"
)
_CLOCK = re.compile(
    r"(?:(?P<days>\d+)(?:\.| days?, ))?(?P<hours>\d{1,2}):(?P<minutes>\d{2}):(?P<seconds>\d{2})(?:\.\d+)?"
)

CEL_PATTERN = (
    r"^(P([0-9]+D)?(T([0-9]+H)?([0-9]+M)?([0-9]+([.][0-9]+)?S)?)?"
    r"|([0-9]+([.]| days?, ))?[0-9]{1,2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?)$"
)
"""The same spellings for the CRD."""


def parse_duration(value: str) -> timedelta:
    """`P7D`, `7.00:00:00` or `7 days, 0:00:00` (as `az` prints it). Raises SpecError otherwise.

    Fractions of a second are dropped.
    """
    match = _ISO.fullmatch(value) or _CLOCK.fullmatch(value)
    parts = {name: int(number) for name, number in match.groupdict().items() if number} if match else {}
    if not parts or value.endswith("T"):
        raise SpecError("maxWallClockTime", f"'{value}' is not a duration such as P7D, 7.00:00:00 or PT2H30M")
    return timedelta(**parts)


def format_duration(value: timedelta) -> str:
    """As `az` printed it: `7 days, 0:00:00`."""
    return str(value)
