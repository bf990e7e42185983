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
        for line in commands_of(page.read_text()):
            yield page.name, line


def commands_of(text: str) -> Iterator[str]:
    """What follows `batchai` in the lines of fenced blocks, in pipes and substitutions too, without the prompt."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for match in re.finditer(r"(?:^(?:\$ )?|[|;&(]\s*|\w=\S* )(?:kubectl )?batchai ([^|;&)]*)", line):
                yield match[1]


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_commands_in_the_documents(page: str, line: str) -> None:
    parser().parse_args(shlex.split(line, comments=True))


def test_there_are_commands_in_the_documents() -> None:
    assert {"README.md", "cli.md", "migrating.md"} <= {page for page, _ in command_lines()}


def test_what_counts_as_a_command() -> None:
    lines = "$ kubectl batchai job list -g x", "X=1 batchai job wait \\", "  -n j", "id=$(batchai group show)"
    page = "\n".join(["see `batchai no`", "```sh", *lines, "```", ""])
    assert [line.split() for line in commands_of(page)] == [
        ["job", "list", "-g", "x"],
        ["job", "wait", "-n", "j"],
        ["group", "show"],
    ]


def test_an_option_that_does_not_exist_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = commands_of("```console\n$ kubectl batchai group list --no-such-option\n```\n")
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(shlex.split(line, comments=True))
    assert "--no-such-option" in capsys.readouterr().err


def test_generation_keeps_the_prose_and_repairs_the_rest() -> None:
    current = (ROOT / "docs" / "cli.md").read_text()
    assert reference.page(current) == current
    prose = current.partition("## Roles")[0]
    assert reference.page(f"{prose}something old") == current
    assert "| `-t`, `--target` COUNT | required; number of nodes |" in current
