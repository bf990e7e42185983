"""Every command line in the documents is one that the parser takes, and docs/cli.md is what the parser says."""

import shlex

import pytest
from tests.documents import ROOT, command_lines, commands_of

from batchai.cli import reference
from batchai.cli.__main__ import parser


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
