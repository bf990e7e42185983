"""Completion of command lines in bash, zsh, fish and kubectl: the shells ask this program for what may come next."""

import argparse
from argparse import Namespace
from collections.abc import Sequence

from batchai.cli.arguments import Group, Parser, groups
from batchai.cli.session import Session

REQUEST = "__complete"
"""The word with which the shells' scripts ask; the words so far follow, the last one unfinished."""

_SCRIPTS = {
    "bash": """\
_batchai() {
  local IFS=$'\\n' words
  words=$(batchai __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _batchai batchai
""",
    "zsh": """\
#compdef batchai
_batchai() {
  local -a candidates
  candidates=("${(@f)$(batchai __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "${candidates[*]}" ]]; then compadd -a candidates; else _files; fi
}
if [[ -n "$functions[compdef]" ]]; then compdef _batchai batchai; fi
""",
    "fish": """\
function __batchai_complete
  set -l words (commandline -opc) (commandline -ct)
  batchai __complete $words[2..-1] 2>/dev/null
end
complete -c batchai -a '(__batchai_complete)'
""",
}


def register(commands: Group) -> None:
    """Adds the command."""
    parser = commands.command("completion", "Print the script that completes commands in a shell.", script)
    parser.add_argument("shell", choices=sorted(_SCRIPTS), help="for example: source <(batchai completion bash)")


def script(args: Namespace, session: Session) -> None:
    """Prints a shell's script."""
    session.out.write(_SCRIPTS[args.shell].encode())


def candidates(parser: Parser, words: Sequence[str]) -> list[str]:
    """What the last of the words may become; empty where only a user or the shell knows (names, files)."""
    *before, current = words or [""]
    awaited: argparse.Action | None = None
    for word in before:
        if awaited is not None:
            awaited = None
        elif (inner := groups(parser).get(word)) is not None:
            parser = inner
        else:
            awaited = _valued(parser, word)
    if awaited is not None:
        found = awaited.choices or ()
    elif current.startswith("-"):
        found = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    else:
        places = [action for action in parser._actions if not action.option_strings]
        found = [choice for action in places for choice in action.choices or ()]
    return [str(word) for word in found if str(word).startswith(current)]


def _valued(parser: Parser, word: str) -> argparse.Action | None:
    """The option of this name that takes a value."""
    return next((action for action in parser._actions if word in action.option_strings and action.nargs != 0), None)
