"""The command lines that the documents show."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines() -> Iterator[tuple[str, str]]:
    """Page and command line, without `batchai` itself."""
    for page in PAGES:
        for line in commands_of(page.read_text()):
            yield page.name, line


def kubectl_lines() -> Iterator[tuple[str, str]]:
    """Page and command line, without `kubectl` itself and what it is piped into."""
    for page in PAGES:
        for line in _lines(page.read_text()):
            if match := re.match(r"(?:\$ )?kubectl (?!batchai)([^|]*)", line):
                yield page.name, match[1]


def commands_of(text: str) -> Iterator[str]:
    """What follows `batchai` in the lines of fenced blocks, in pipes and substitutions too, without the prompt."""
    for line in _lines(text):
        for match in re.finditer(r"(?:^(?:\$ )?|[|;&(]\s*|\w=\S* )(?:kubectl )?batchai ([^|;&)]*)", line):
            yield match[1]


def _lines(text: str) -> Iterator[str]:
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from re.sub(r"\\\n", " ", block).splitlines()
