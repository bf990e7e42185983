"""Log lines, for machines (JSON) or for people (text), with the object that the work is about."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from batchai.errors import SpecError

_subject: ContextVar[Mapping[str, str | int]] = ContextVar("subject")


@contextmanager
def about(kind: str, namespace: str, name: str, attempt: int | None = None) -> Iterator[None]:
    """What is logged inside is about this object; attempt: the Job's current one, if there is one."""
    subject: dict[str, str | int] = {"kind": kind, "namespace": namespace, "name": name}
    token = _subject.set(subject | ({"attempt": attempt} if attempt else {}))
    try:
        yield
    finally:
        _subject.reset(token)


def formatter(name: str) -> logging.Formatter:
    """How the format of a name writes lines; raises SpecError if there is no such format."""
    if name == "json":
        return _Json()
    if name == "text":
        return _Text("%(asctime)s %(levelname)s %(name)s %(message)s")
    raise SpecError("BATCHAI_LOG_FORMAT", f"must be json or text, not '{name}'")


class _Json(logging.Formatter):
    """A JSON object a line: time (UTC), level, logger, message, then kind, namespace, name, attempt and exception."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_subject.get({}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class _Text(logging.Formatter):
    """The object follows the message: Job ns/name, attempt 2."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        if not (subject := _subject.get({})):
            return line
        attempt = f", attempt {subject['attempt']}" if "attempt" in subject else ""
        return f"{line} ({subject['kind']} {subject['namespace']}/{subject['name']}{attempt})"
