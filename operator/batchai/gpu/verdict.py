"""From findings, probe after probe, to the verdict that the node carries.

What must outlive the agent is in the node's condition; what is counted here may be lost in a restart, which only
makes the agent slower to change its mind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from batchai.gpu.findings import Finding, Reason
from batchai.status.conditions import shorten

PROBES = {
    Reason.DRIVER_FAILS: 2,
    Reason.GPU_MISSING: 2,
    Reason.LEFTOVER_PROCESSES: 4,
    Reason.SLOWED_DOWN: 8,
}
"""How many probes in a row must find it; one, where nothing is said. A driver that is being replaced, a process on
its way out and a short peak of load are no faults."""
WELL_PROBES = 8
"""How many probes in a row must find nothing before a sick node is well again."""

_SEPARATOR = "; "
_MESSAGE_LIMIT = 1024

Streaks = Mapping[Reason, int]
"""How often in a row each reason was found."""


@dataclass(frozen=True)
class Verdict:
    """The condition's content: status is True, False or Unknown."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Standing:
    """The verdict that the node carries, and when it was written."""

    verdict: Verdict
    written: datetime


def settle(
    standing: Standing | None, found: Sequence[Finding], streaks: Streaks, *, booted: datetime
) -> tuple[Verdict | None, Streaks]:
    """The verdict after a probe, None while there is none yet, and the streaks for the next one.

    booted: when the node was. An XID is told once; it stands until then is later than what was written of it.
    """
    everything = (*_xids(standing, booted), *found)
    now = {finding.reason: streaks.get(finding.reason, 0) + 1 for finding in everything}
    counts = [item for item in everything if item.reason.sick and now[item.reason] >= PROBES.get(item.reason, 1)]
    if counts:
        return _sick(counts), now
    calm = next((item for item in found if not item.reason.sick), None)
    if calm is None or (_is_sick(standing) and not _recovered(now)):
        return None if standing is None else standing.verdict, now
    return Verdict("True" if calm.reason is Reason.HEALTHY else "Unknown", calm.reason, calm.text), now


def _sick(findings: Sequence[Finding]) -> Verdict:
    order = list(Reason)
    leading = min((finding.reason for finding in findings), key=order.index)
    texts = dict.fromkeys(finding.text for finding in findings if finding.reason is leading)
    return Verdict("False", leading, shorten(_SEPARATOR.join(texts), _MESSAGE_LIMIT))


def _xids(standing: Standing | None, booted: datetime) -> tuple[Finding, ...]:
    """The XIDs that the node's condition remembers of this boot."""
    if standing is None or standing.verdict.reason != Reason.XID_ERROR or standing.written < booted:
        return ()
    return tuple(Finding(Reason.XID_ERROR, text) for text in standing.verdict.message.split(_SEPARATOR))


def _is_sick(standing: Standing | None) -> bool:
    return standing is not None and standing.verdict.status == "False"


def _recovered(streaks: Streaks) -> bool:
    """A GPU that cannot be seen is not well: NoAccess does not count."""
    return max(streaks.get(Reason.HEALTHY, 0), streaks.get(Reason.NO_GPU, 0)) >= WELL_PROBES
