"""The program: parses, confirms, runs one command, prints its result.

Errors become one sentence on stderr and an exit code; tracebacks are for --debug.
"""

import logging
import os
import re
import signal
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from batchai.cli import (
    arguments,
    cluster,
    completion,
    download,
    experiment,
    explain,
    files,
    fileserver,
    group,
    init,
    job,
    jobstream,
    jobtop,
    node,
    output,
    screen,
    storagesecrets,
    submit,
    usages,
    workspace,
)
from batchai.cli.arguments import Group, Parser
from batchai.cli.kube import HttpKube
from batchai.cli.problems import FAILURE, NOT_FOUND, USAGE, Problem
from batchai.cli.screen import Voice
from batchai.cli.session import Session
from batchai.errors import BatchAIError, KubeApiError, SpecError, StorageError

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""
WATCH_SECONDS = 2.0
"""Between two looks of --watch."""
_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
"""The API server's words for a right that is missing."""


def parser(program: str = "batchai") -> Parser:
    """The whole command line."""
    top = Parser(prog=program, description="Batch AI on Kubernetes, with the commands of `az batchai`.")
    top.add_argument("--version", action="version", version=f"batchai {version('batchai')}")
    commands = Group(top)
    init.register(commands)
    group.register(commands)
    workspace.register(commands)
    clusters = cluster.register(commands)
    node.register_for_clusters(clusters)
    files.register_for_clusters(clusters)
    experiment.register(commands)
    jobs = job.register(commands)
    node.register_for_jobs(jobs)
    download.register(files.register_for_jobs(jobs))
    jobstream.register(jobs)
    explain.register(jobs)
    jobtop.register(jobs)
    submit.register(jobs)
    fileserver.register(commands)
    storagesecrets.register(commands)
    usages.register(commands)
    completion.register(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code (0, 1 error, 2 usage, 3 not found)."""
    called_as = Path(sys.argv[0]).name
    program = called_as.replace("kubectl-", "kubectl ") if called_as.startswith("kubectl-") else "batchai"
    words = list(arguments or ())
    if arguments is None:
        words = sys.argv[1:]
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
    if words[:1] == [completion.REQUEST]:
        print("\n".join(completion.candidates(parser(program), words[1:])))
        return 0
    args = parser(program).parse_args(words)
    _start_logging(args)
    voice = Voice(sys.stderr)
    session = Session(
        connect=lambda: HttpKube.connect(args.kubeconfig, args.context),
        environ=os.environ,
        out=sys.stdout.buffer,
        err=sys.stderr.buffer,
        say=voice.say,
        progress=voice.progress if voice.terminal else None,
        screen=screen.of_stdout(os.environ),
    )
    try:
        return run(args, session)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; nothing more can be written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except (Problem, BatchAIError, OSError) as error:
        if args.debug:
            traceback.print_exc()
        code, sentence, hint = answer(error)
        print(f"ERROR: {sentence.rstrip('.')}.", file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
        return code
    finally:
        voice.progress("")


def _end(number: int, _frame: object) -> NoReturn:
    """Ends as if by an error, so that nothing that the command made for itself stays."""
    sys.exit(128 + number)


def complete_for_kubectl() -> int:
    """The program `kubectl_complete-batchai`, which kubectl asks what may come next."""
    words = completion.candidates(parser(), sys.argv[1:])
    print("\n".join([*words, ":0"]))  # the line that ends a list, in the protocol of kubectl's own completion
    return 0


def run(args: Namespace, session: Session) -> int:
    """Confirms and runs a parsed command and prints its result."""
    if args.ask and not args.yes:
        _confirm()
    if args.watch:
        _watch(args, session)
    _print(session, _result(args, session))
    return 0


def _watch(args: Namespace, session: Session) -> NoReturn:
    """Prints the result, and again whenever it has changed."""
    said = ""

    def say(text: str) -> None:
        nonlocal said
        if text != said:
            session.say(text)
            said = text

    watching = replace(session, say=say)
    shown = None
    while True:
        text = watching.patiently(lambda: _result(args, watching))
        if text != shown:
            _print(session, text)
            shown = text
        session.sleep(WATCH_SECONDS)


def _result(args: Namespace, session: Session) -> str:
    result = args.run(args, session) if args.ids is None else _each(args, session)
    if args.output == "text" and not args.query:
        return str(args.text(result))
    return output.render(result, args.output, query=args.query, row=args.row, screen=session.screen)


def _print(session: Session, text: str) -> None:
    if session.progress:
        session.progress("")
    if text:
        session.out.write(f"{text}\n".encode())
        session.out.flush()


def _each(args: Namespace, session: Session) -> Any:
    """The result of one id, or a list of the results of several; exits with the first exit code that is not 0."""
    results, code = [], 0
    for one in list(arguments.by_ids(args)):  # all of them are read before anything is done
        try:
            results.append(args.run(one, session))
        except SystemExit as end:
            results.append(None)
            code = code or int(end.code or 0)
    if code:
        raise SystemExit(code)
    return results[0] if len(results) == 1 else [result for result in results if result is not None] or None


def answer(error: Problem | BatchAIError | OSError) -> tuple[int, str, str]:
    """Exit code, sentence and hint of an error."""
    match error:
        case Problem():
            return error.code, error.sentence, error.hint
        case KubeApiError(status=404, reason="" | "NotFound") if "page not found" in error.message:
            return (
                NOT_FOUND,
                "this cluster does not know Batch AI's resources.",
                "Install the operator first: kubectl apply -k manifests/",
            )
        case KubeApiError(not_found=True) | StorageError(not_found=True):
            return NOT_FOUND, str(error), ""
        case KubeApiError(status=401):
            return FAILURE, "the cluster does not accept your credentials.", "Check: kubectl auth whoami"
        case KubeApiError(status=403) if match := _FORBIDDEN.search(error.message):
            what = f"{match['resource']}.{match['group']}" if match["group"] else match["resource"]
            place = f"in namespace '{match['namespace']}'" if match["namespace"] else "in the whole cluster"
            return (
                FAILURE,
                f"you ({match['user']}) may not {match['verb']} {what} {place}",
                "The roles of manifests/users.yaml have this right: an administrator of the cluster can give you one.",
            )
        case KubeApiError():
            return FAILURE, error.message, ""
        case SpecError():
            return USAGE, str(error), ""
        case OSError(filename=str(), strerror=str()):
            return FAILURE, f"{error.filename}: {error.strerror}", ""
        case _:
            return FAILURE, str(error), ""


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Problem("there is no terminal to ask for confirmation.", "Give --yes to go on without.")
    print("Are you sure you want to perform this operation? (y/n): ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Problem("operation cancelled.")


def _start_logging(args: Namespace) -> None:
    if args.debug or args.verbose:
        # The SDKs log requests without bodies and with credentials redacted; urllib3 prints URLs with their tokens.
        logging.basicConfig(level=logging.DEBUG if args.debug else logging.INFO, stream=sys.stderr)
        logging.getLogger("urllib3").setLevel(logging.INFO)
    else:
        # Without a handler Python prints the libraries' warnings, tracebacks included.
        logging.getLogger().addHandler(logging.NullHandler())


if __name__ == "__main__":
    sys.exit(main())
