"""Pieces of command lines that shells on the nodes will read."""

import re
import shlex

from batchai.api.job import PythonScriptSettings
from batchai.toolkits.base import LAUNCHER_PATH

_SPECIAL = re.compile(r'[\\"`]|\$(?=\()')


def path(text: str) -> str:
    """A path as one shell word: $NAME and ${NAME} are expanded, everything else means itself."""
    return '"' + _SPECIAL.sub(lambda match: f"\\{match[0]}", text) + '"'


def python(script: str, interpreter: str | None, arguments: str | None) -> str:
    """`python <script> <arguments>`; the interpreter is what PATH finds unless the job names one (reference §3).

    The arguments are shell text, as the service took them.
    """
    return program(path(interpreter) if interpreter else "python", path(script), arguments)


def script(settings: PythonScriptSettings) -> str:
    """The command of a toolkit whose settings are a Python script."""
    return python(settings.python_script_file_path, settings.python_interpreter_path, settings.command_line_args)


def program(*words: str | None) -> str:
    """Words with what is absent or empty left out."""
    return " ".join(word for word in words if word)


def in_each_rank(command: str) -> str:
    """Shell text as a program, so that every MPI rank expands it with its own variables, in the shell of other jobs."""
    return f"{LAUNCHER_PATH}/shell -c {shlex.quote(command)}"
