"""Kubernetes conditions as values."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from batchai.api.base import Condition

_MESSAGE_LIMIT = 1024


def with_condition(
    conditions: Sequence[Condition] | None,
    kind: str,
    *,
    status: bool,
    reason: str,
    message: str,
    now: datetime,
    generation: int,
) -> list[Condition]:
    """The conditions with the one of type `kind` set; its transition time moves only when its status does."""
    previous = find(conditions, kind)
    text = "True" if status else "False"
    since = now
    if previous is not None and previous.status == text:
        since = previous.last_transition_time
    condition = Condition(
        type=kind,
        status=text,
        reason=reason,
        message=shorten(message, _MESSAGE_LIMIT),
        last_transition_time=since,
        observed_generation=generation,
    )
    others = [other for other in conditions or () if other.type != kind]
    return sorted([*others, condition], key=lambda item: item.type)


def find(conditions: Iterable[Condition] | None, kind: str) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((condition for condition in conditions or () if condition.type == kind), None)


def is_true(conditions: Iterable[Condition] | None, kind: str) -> bool:
    """The condition exists and says True."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def is_false(conditions: Iterable[Condition] | None, kind: str) -> bool:
    """The condition exists and says False."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "False"


def shorten(text: str, limit: int) -> str:
    """The text within a limit of characters; a cut is visible."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
