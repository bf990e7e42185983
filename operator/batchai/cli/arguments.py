"""The parsers' common parts: options that many commands share, and errors in one sentence."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from batchai.cli.output import FORMATS, TableRow
from batchai.cli.problems import USAGE
from batchai.cli.session import Session

Run = Callable[[argparse.Namespace, Session], Any]
"""A command: arguments in, the result to print out (None prints nothing)."""


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and answers mistakes in one sentence, with exit code 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        print(f"{self.prog}: {message}\nSee: {self.prog} --help", file=sys.stderr)
        sys.exit(USAGE)


class Group:
    """A group of commands (`batchai job`), to which commands and groups are added."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def group(self, name: str, about: str) -> "Group":
        """A group in this group."""
        return Group(self._parsers.add_parser(name, help=about, description=about))

    def command(
        self, name: str, about: str, run: Run, row: TableRow | None = None, *, ask: bool = False
    ) -> argparse.ArgumentParser:
        """A command; `row` makes the columns of its table, `ask` has it ask before it runs."""
        parser = self._parsers.add_parser(name, help=about, description=about)
        parser.set_defaults(run=run, row=row, ask=ask)
        if ask:
            parser.add_argument("-y", "--yes", action="store_true", help="do not ask for confirmation")
        common = parser.add_argument_group("global arguments")
        common.add_argument("-o", "--output", choices=FORMATS, default="json", help="output format (json)")
        common.add_argument("--query", metavar="JMESPATH", help="what to print of the result")
        common.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig ($KUBECONFIG, ~/.kube/config)")
        common.add_argument("--context", help="the kubeconfig's context (its current one)")
        common.add_argument("--verbose", action="store_true", help="log what is done, on stderr")
        common.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
        return parser


def resource_group(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """-g: the namespace."""
    parser.add_argument(
        "-g", "--resource-group", metavar="GROUP", required=required, help="resource group (a namespace)"
    )


def workspace(parser: argparse.ArgumentParser) -> None:
    """-g and -w: where a workspace's children live."""
    resource_group(parser)
    parser.add_argument("-w", "--workspace", metavar="NAME", required=True, help="workspace")


def experiment(parser: argparse.ArgumentParser) -> None:
    """-g, -w and -e: where jobs live."""
    workspace(parser)
    parser.add_argument("-e", "--experiment", metavar="NAME", required=True, help="experiment")


def own_name(parser: argparse.ArgumentParser, what: str, *aliases: str) -> None:
    """-n: the name of the resource itself."""
    parser.add_argument("-n", "--name", *aliases, dest="name", required=True, help=f"name of the {what}")


def no_wait(parser: argparse.ArgumentParser) -> None:
    """--no-wait."""
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the operation to finish")


def storage(parser: argparse.ArgumentParser) -> None:
    """The options for storage and file servers that clusters and jobs share (Batch AI reference §8)."""
    group = parser.add_argument_group("storage")
    group.add_argument("--storage-account-name", metavar="ACCOUNT", help="or AZURE_BATCHAI_STORAGE_ACCOUNT")
    group.add_argument("--storage-account-key", metavar="KEY", help="or AZURE_BATCHAI_STORAGE_KEY")
    group.add_argument("--afs-name", metavar="SHARE", help="Azure file share to mount")
    group.add_argument("--afs-mount-path", metavar="PATH", default="afs", help="where to mount it (afs)")
    group.add_argument("--bfs-name", metavar="CONTAINER", help="blob container to mount")
    group.add_argument("--bfs-mount-path", metavar="PATH", default="bfs", help="where to mount it (bfs)")
    group.add_argument("--nfs", metavar="NAME", help="file server to mount")
    group.add_argument("--nfs-mount-path", metavar="PATH", default="nfs", help="where to mount it (nfs)")
