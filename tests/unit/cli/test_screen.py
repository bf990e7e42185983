"""Terminals and pipes: widths, colours, progress, and results that are watched."""

import io
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.fakes import FakeKube, Terminal

from batchai.cli.kube import WORKSPACES
from batchai.cli.output import render
from batchai.cli.screen import PIPE, Screen, Voice
from batchai.errors import KubeApiError

ROWS = [{"a": "x" * 30, "b": 1, "c": "some text that is long"}, {"a": "short", "b": 2, "c": ""}]


def test_a_table_fits_its_terminal() -> None:
    def row(item: dict[str, Any]) -> dict[str, object]:
        return {"Name": item["a"], "Nodes": item["b"], "Message": item["c"]}

    assert render(ROWS, "table", row=row, screen=Screen(40)).splitlines() == [
        "Name             Nodes  Message",
        "---------------  -----  ----------------",
        "xxxxxxxxxxxxxx…  1      some text that …",
        "short            2",
    ]
    assert max(map(len, render(ROWS, "table", row=row).splitlines())) == 30 + 5 + 22 + 4


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(categories=["L", "N"]), max_size=60), min_size=3, max_size=3), min_size=1
    ),
    columns=st.integers(30, 200),
)
def test_no_line_is_longer_than_the_terminal(rows: list[list[str]], columns: int) -> None:
    lines = render(rows, "table", screen=Screen(columns)).splitlines()
    assert max(map(len, lines)) <= columns


def test_colours_are_for_terminals() -> None:
    assert "\033" in render({"a": 1}, "jsonc", screen=Screen(80, colour=True))
    assert render({"a": 1}, "jsonc", screen=PIPE) == render({"a": 1}, "json")


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def test_progress_is_one_line_that_goes_again() -> None:
    stream = Tty()
    voice = Voice(stream)
    voice.progress("waits")
    voice.progress("x" * 100)
    voice.say("done")
    voice.progress("")
    assert stream.getvalue() == f"\r\033[Kwaits\r\033[K{'x' * 79}\r\033[Kdone\n"


def test_a_pipe_gets_lines_only() -> None:
    stream = io.StringIO()
    voice = Voice(stream)
    voice.progress("waits")
    voice.say("done")
    assert stream.getvalue() == "done\n"


def test_long_waits_show_progress_on_a_terminal() -> None:
    terminal = Terminal(FakeKube(after=lambda *_: None), screen=Screen(80))
    terminal.run("workspace create -g ns -n w")
    assert terminal.shown[0] == "The workspace is being made … 0 s"
    assert "The workspace is being made … 59 s" in terminal.shown
    assert terminal.shown[-1] == ""


def on_a_terminal(*arguments: str, both: bool) -> str:
    """What the program writes with a pseudo-terminal as stdout, and as stderr if `both`."""
    primary, secondary = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": ""}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    with subprocess.Popen(
        command, stdout=secondary, stderr=secondary if both else subprocess.DEVNULL, env=environ
    ) as process:
        os.close(secondary)
        written = b""
        try:
            while piece := os.read(primary, 4096):
                written += piece
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(primary)
        assert process.wait(20) == 0
    return written.decode()


SCRIPT = """
import sys
from batchai.cli import __main__ as program
from batchai.cli import kube, lookup
from tests.unit.cli.fakes import FakeKube

fake = FakeKube(after=lambda *_: None)
metadata = {"name": "w", "namespace": "ns"}
fake.create(kube.WORKSPACES, "ns", {"metadata": metadata, "spec": {"location": "l" * 200}})
program.HttpKube.connect = lambda *_: fake
lookup.CREATE_SECONDS = 0.3
sys.exit(program.main(sys.argv[1:]))
"""
"""The program with a cluster in memory whose operator does not answer."""


def test_with_a_pseudo_terminal() -> None:
    table = on_a_terminal("workspace", "list", "-o", "table", both=False).splitlines()
    assert max(map(len, table)) <= 80
    assert "…" in table[2]
    assert "\033[34m" in on_a_terminal("workspace", "list", "-o", "jsonc", both=False)
    made = on_a_terminal("workspace", "create", "-g", "ns", "-n", "new", both=True)
    assert "\r\033[KThe workspace is being made … 0 s" in made
    assert made.index("\r\033[KThe workspace is accepted") < made.index("{")


def test_with_a_pipe() -> None:
    def run(*arguments: str) -> tuple[str, str]:
        command = [sys.executable, "-c", SCRIPT, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return done.stdout, done.stderr

    assert max(map(len, run("workspace", "list", "-o", "table")[0].splitlines())) > 200
    assert "\033" not in run("workspace", "list", "-o", "jsonc")[0]
    _, said = run("workspace", "create", "-g", "ns", "-n", "new")
    assert said.startswith("The workspace is accepted")
    assert "\033" not in said


def test_watching_prints_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    terminal.run("workspace create -g ns -n w -l one")
    spec = terminal.kube.one(WORKSPACES, "w")["spec"]
    listed, outage = terminal.kube.list, iter([None, KubeApiError(503, "", "m"), None])

    def answer(*arguments: Any) -> Any:
        if failure := next(outage, None):
            raise failure
        return listed(*arguments)

    monkeypatch.setattr(terminal.kube, "list", answer)
    steps = iter([lambda: None, lambda: None, lambda: spec.update(location="two"), lambda: None])

    def play() -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    terminal.sleeping = play
    with pytest.raises(KeyboardInterrupt):
        terminal.run("workspace list -g ns --watch -o tsv --query [].location")
    assert terminal.written.getvalue() == b"one\ntwo\n"
