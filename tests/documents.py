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


def commands_of(text: str) -> Iterator[str]:
    """What follows `batchai` in the lines of fenced blocks, in pipes and substitutions too, without the prompt."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for match in re.finditer(r"(?:^(?:\$ )?|[|;&(]\s*|\w=\S* )(?:kubectl )?batchai ([^|;&)]*)", line):
                yield match[1]
