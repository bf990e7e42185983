"""Paths and arguments reach a program exactly, through a real shell."""

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from batchai.toolkits import shell

literal = st.text(st.characters(exclude_characters="\0$", exclude_categories=["Cs"]), min_size=1, max_size=12)


def words(command: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", command], check=True, capture_output=True, env={"ROOT": "/a b/ü'\"", "PATH": "/usr/bin:/bin"}
    )
    return done.stdout.decode().split("\0")[:-1]


@settings(max_examples=60, deadline=None)
@given(literal)
def test_a_path_is_one_word_that_means_itself(path: str) -> None:
    assert words(f"printf '%s\\0' {shell.path(path)}") == [path]


@settings(max_examples=40, deadline=None)
@given(literal)
def test_variables_in_paths_are_expanded_and_nothing_else_is(rest: str) -> None:
    assert words(f"printf '%s\\0' {shell.path('$ROOT/$(id)/' + rest)}") == ["/a b/ü'\"/$(id)/" + rest]


def test_a_ranks_command_is_expanded_in_the_rank() -> None:
    command = shell.in_each_rank("ROOT=mine; printf '%s\\0' \"$ROOT\" 'a b'")
    assert words(command) == ["mine", "a b"]
