"""What may come next on a command line, as the real shells ask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchai.cli import __main__ as program
from batchai.cli.completion import candidates


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("wor", ["workspace"]),
        ("job fi", ["file"]),
        ("job file ", ["list", "stream", "download"]),
        ("job file stream --output-d", ["--output-directory-id"]),
        ("job list -o ta", ["table"]),
        ("cluster create --vm-priority ", ["dedicated", "lowpriority"]),
        ("cluster create --vm-priority dedicated --sub", ["--subscription", "--subnet"]),
        ("job create -f ", []),
        ("job create -f job.json --no-w", ["--no-wait"]),
        ("completion z", ["zsh"]),
        ("nothing ", None),
    ],
)
def test_candidates(words: str, found: list[str] | None) -> None:
    expected = candidates(program.parser(), [""]) if found is None else found
    assert candidates(program.parser(), words.split(" ")) == expected


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The program as `batchai` and as kubectl's plugin on PATH."""
    for name, call in (("batchai", "main"), ("kubectl_complete-batchai", "complete_for_kubectl")):
        script = tmp_path / name
        script.write_text(f"#!{sys.executable}\nfrom batchai.cli.__main__ import {call}\nraise SystemExit({call}())\n")
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def run(environ: dict[str, str], *command: str) -> list[str]:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash(environ: dict[str, str]) -> None:
    script = """
        source <(batchai completion bash)
        COMP_WORDS=(batchai job file st) COMP_CWORD=3
        _batchai
        echo "${COMPREPLY[@]}"
        complete -p batchai
    """
    assert run(environ, "bash", "-c", script) == ["stream", "complete", "-o", "default", "-F", "_batchai", "batchai"]


def test_fish(environ: dict[str, str]) -> None:
    script = (
        "batchai completion fish | source; complete -C 'batchai cluster auto'; complete -C 'batchai job list -o ts'"
    )
    assert run(environ, "fish", "-c", script) == ["auto-scale", "tsv"]


def test_zsh(environ: dict[str, str]) -> None:
    script = """
        autoload -U compinit && compinit -u
        source <(batchai completion zsh)
        echo "${_comps[batchai]}"
        compadd() { echo "${candidates[@]}" }
        words=(batchai cluster node e) CURRENT=4
        _batchai
    """
    assert run(environ, "zsh", "-fc", script) == ["_batchai", "exec"]


def test_kubectl(environ: dict[str, str]) -> None:
    assert run(environ, "kubectl_complete-batchai", "job", "ter") == ["terminate", ":0"]
