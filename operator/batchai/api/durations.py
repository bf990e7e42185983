"""maxWallClockTime in its three spellings (Batch AI reference §12)."""

import re
from datetime import timedelta

from batchai.errors import SpecError

MAXIMUM = timedelta(days=7)
"""The service's ceiling (reference §1.5)."""

# The digits are counted so that no number overflows, neither here nor in CEL.
_ISO = re.compile(
    r"P(?:(?P<days>[0-9]{1,4})D)?"
    r"(?:T(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,6})(?:[.][0-9]+)?S)?)?"
)
_CLOCK = re.compile(
    r"(?:(?P<days>[0-9]{1,4})(?:[.]| days?, ))?"
    r"(?P<hours>[0-9]{1,2}):(?P<minutes>[0-9]{2}):(?P<seconds>[0-9]{2})(?:[.][0-9]+)?"
)
_SPELLINGS = re.sub(r"[?]P<[a-z]+>", "", f"^(?:{_ISO.pattern}|{_CLOCK.pattern})$")

CEL_IS_DURATION = f"self.matches(r'{_SPELLINGS}') && self.matches('[0-9]') && !self.endsWith('T')"
"""Whether a string is one of the spellings, for the CRD."""

_CEL_DAYS = "int('0' + self.find('^P?[0-9]+([.]| day|D)').find('[0-9]+'))"
# CEL reads durations as Go writes them: 2h30m0s.
_CEL_ISO_TIME = "self.find('T.*').replace('T', '').lowerAscii()"
_CEL_CLOCK_TIME = "self.find('[0-9]+:.*').replace(':', 'h', 1).replace(':', 'm', 1) + 's'"
_CEL_TIME = f"duration('0h' + (self.startsWith('P') ? {_CEL_ISO_TIME} : {_CEL_CLOCK_TIME})).getSeconds()"
CEL_IN_BOUNDS = (
    f"!({CEL_IS_DURATION}) || [{_CEL_DAYS} * 86400 + {_CEL_TIME}]"
    f".all(seconds, seconds >= 1 && seconds <= {int(MAXIMUM.total_seconds())})"
)
"""Whether a duration lasts from one second to the ceiling."""


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
