"""Every command line in the documents is one that the parser takes, and docs/cli.md is what the parser says."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchai.cli import reference
from batchai.cli.__main__ import parser

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in re.sub(r"\\\n", " ", block).splitlines():
                if match := re.match(r"(?:\$ )?(?:kubectl )?batchai (.*)", line):
                    yield page.name, match[1]


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_commands_in_the_documents(page: str, line: str) -> None:
    parser().parse_args(shlex.split(line, comments=True))


def test_there_are_commands_in_the_documents() -> None:
    assert {"README.md", "cli.md"} <= {page for page, _ in command_lines()}


def test_generation_keeps_the_prose_and_repairs_the_rest() -> None:
    current = (ROOT / "docs" / "cli.md").read_text()
    assert reference.page(current) == current
    prose = current.partition("## Roles")[0]
    assert reference.page(f"{prose}something old") == current
    assert "| `-t`, `--target` COUNT | required; number of nodes |" in current
