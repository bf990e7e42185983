"""Interpreters, paths, arguments and values reach a program exactly, through every shell that an image may have."""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.builders import job

from batchai.toolkits import Allocation, launch, shell
from batchai.toolkits.base import LAUNCHER_PATH

SHELLS = (("bash",), ("sh",), ("busybox", "sh"))
shells = st.sampled_from(SHELLS)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
literal = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]), min_size=1, max_size=12)
file_name = literal.map(lambda name: name.replace("/", "-")).filter(lambda name: name not in {".", ".."})
ROOT = "/a b/ü'\""
PROGRAM = """#!/bin/sh
printf '%s\\0' "$0" "$@"
"""


def words(command: str, with_shell: Sequence[str] = ("bash",), **variables: str) -> list[str]:
    environment = {"ROOT": ROOT, "PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run([*with_shell, "-c", command], check=True, capture_output=True, env=environment)
    return done.stdout.decode().split("\0")[:-1]


@settings(max_examples=60, deadline=None)
@given(shells, literal)
def test_a_path_is_one_word_that_means_itself(with_shell: Sequence[str], path: str) -> None:
    assert words(f"printf '%s\\0' {shell.path(path)}", with_shell) == [path]


@settings(max_examples=40, deadline=None)
@given(shells, literal)
def test_variables_in_paths_are_expanded_and_nothing_else_is(with_shell: Sequence[str], rest: str) -> None:
    assert words(f"printf '%s\\0' {shell.path('$ROOT/$(id)/' + rest)}", with_shell) == [f"{ROOT}/$(id)/{rest}"]
    braces = shell.path("${ROOT}x" + rest)
    assert words(f"printf '%s\\0' {braces}", with_shell) == [f"{ROOT}x{rest}"]


@settings(max_examples=40, deadline=None)
@given(shells, text)
def test_the_value_of_a_variable_is_not_read_again(with_shell: Sequence[str], value: str) -> None:
    command = f"printf '%s\\0' {shell.path('$OWN/x')} \"$OWN\""
    assert words(command, with_shell, OWN=value) == [f"{value}/x", value]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for interpreters: each says by what name it was called, and with which arguments."""
    folder = tmp_path_factory.mktemp("programs") / "my env ü"
    folder.mkdir()
    return folder


@settings(max_examples=60, deadline=None)
@given(shells, file_name, literal, st.lists(text, max_size=4), text)
def test_a_script_gets_its_interpreter_path_and_arguments(
    programs: Path, with_shell: Sequence[str], interpreter: str, path: str, arguments: list[str], value: str
) -> None:
    program = programs / interpreter
    program.write_text(PROGRAM)
    program.chmod(0o755)
    spec = job(
        cntkSettings={
            "pythonInterpreterPath": f"$PROGRAMS/{interpreter}",
            "pythonScriptFilePath": f"$ROOT/{path}",
            "commandLineArgs": " ".join((*(shlex.quote(word) for word in arguments), '"$OWN"', "--dir=$PLAIN")),
        }
    ).spec
    ((process,),) = launch(spec, Allocation(("host",))).nodes
    found = words(process.command, with_shell, PROGRAMS=str(programs), OWN=value, PLAIN="one")
    program.unlink()
    assert found == [str(program), f"{ROOT}/{path}", *arguments, value, "--dir=one"]


@settings(max_examples=40, deadline=None)
@given(shells, text)
def test_the_command_of_an_mpi_process_arrives_as_it_was_written(with_shell: Sequence[str], command: str) -> None:
    assert words(f"printf '%s\\0' {shell.in_each_rank(command)}", with_shell) == [
        f"{LAUNCHER_PATH}/shell",
        "-c",
        command,
    ]


def test_a_ranks_command_is_expanded_in_the_rank() -> None:
    # That one is there in jobs only.
    command = shell.in_each_rank("ROOT=mine; printf '%s\\0' \"$ROOT\" 'a b'")
    assert words(command.replace(f"{LAUNCHER_PATH}/shell", "bash")) == ["mine", "a b"]
