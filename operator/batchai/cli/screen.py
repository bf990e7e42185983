"""What stdout and stderr are: terminals, which show widths, colours and progress, or pipes, which get bytes only."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True)
class Screen:
    """Where results are shown. columns: its width, None where lines may be of any length."""

    columns: int | None = None
    colour: bool = False


PIPE = Screen()
"""No terminal: lines of any length, no colours."""


def of_stdout(environ: Mapping[str, str]) -> Screen:
    """The terminal that stdout is, or the pipe. NO_COLOR and TERM=dumb turn colours off."""
    if not sys.stdout.isatty():
        return PIPE
    plain = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    return Screen(_columns(sys.stdout), colour=not plain)


class Voice:
    """Lines on stderr; on a terminal there is one more, which says what is waited for and goes again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.terminal = stream.isatty()
        self._shown = False

    def say(self, text: str) -> None:
        """Prints a line."""
        self.progress("")
        print(text, file=self._stream, flush=True)

    def progress(self, text: str) -> None:
        """Shows a text in the place of the one before; an empty one takes it away."""
        if not self.terminal or not (text or self._shown):
            return
        width = _columns(self._stream) - 1
        self._stream.write(f"\r\033[K{text[:width]}")
        self._stream.flush()
        self._shown = bool(text)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
