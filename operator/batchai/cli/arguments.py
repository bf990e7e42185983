"""The parsers' common parts: options that many commands share, and errors in one sentence."""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from batchai.cli.output import FORMATS, TableRow
from batchai.cli.problems import USAGE, UsageProblem
from batchai.cli.session import Session
from batchai.cli.shapes import id_parts

Text = Callable[[Any], str]
"""A result in words, without a line feed at its end."""
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

    def __init__(self, parser: Parser) -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def group(self, name: str, about: str) -> "Group":
        """A group in this group."""
        return Group(self._parsers.add_parser(name, help=about, description=about))

    def command(
        self,
        name: str,
        about: str,
        run: Run,
        row: TableRow | None = None,
        *,
        ask: bool = False,
        watch: bool = False,
        text: Text | None = None,
    ) -> Parser:
        """A command. `row` makes the columns of its table; `ask` has it ask before it runs; `watch` gives it --watch.

        `text` is how people read its result, and its default format.
        """
        parser = self._parsers.add_parser(name, help=about, description=about)
        parser.set_defaults(run=run, row=row, ask=ask, text=text, ids=None, watch=False)
        if watch:
            parser.add_argument("--watch", action="store_true", help="print again what changes, until Ctrl-C")
        if ask:
            parser.add_argument("-y", "--yes", action="store_true", help="do not ask for confirmation")
        common = parser.add_argument_group("global arguments")
        formats, default = (("text", *FORMATS), "text") if text else (FORMATS, "json")
        common.add_argument("-o", "--output", choices=formats, default=default, help=f"output format ({default})")
        common.add_argument("--query", metavar="JMESPATH", type=_query, help="what to print of the result")
        common.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig ($KUBECONFIG, ~/.kube/config)")
        common.add_argument("--context", "--subscription", help="the kubeconfig's context (its current one)")
        common.add_argument("--verbose", action="store_true", help="log what is done, on stderr")
        common.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
        return parser


def _query(text: str) -> str:
    """A type of arguments: JMESPath, refused before the command does anything."""
    import jmespath  # noqa: PLC0415 - rarely needed

    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"'{text}' is not JMESPath: {reason}") from error
    return text


@dataclass(frozen=True)
class Command:
    """A command: its words, and the parser of its arguments."""

    path: tuple[str, ...]
    parser: Parser


def commands(parser: Parser, path: tuple[str, ...] = ()) -> Iterator[Command]:
    """All commands of the program, or of a group, in the order in which they were added."""
    inside = groups(parser)
    for name, inner in inside.items():
        yield from commands(inner, (*path, name))
    if not inside:
        yield Command(path, parser)


def groups(parser: Parser) -> dict[str, Parser]:
    """The groups and commands of a group by their names; none for a command."""
    return {
        name: inner
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, inner in action.choices.items()
    }


def given(text: str) -> str:
    """A type of arguments: a name, which an empty variable of a script would leave out."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def resource_group(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """-g: the namespace."""
    parser.add_argument(
        "-g",
        "--resource-group",
        metavar="GROUP",
        type=given,
        required=required,
        help="resource group (a namespace)",
    )


def workspace(parser: argparse.ArgumentParser) -> None:
    """-g and -w: where a workspace's children live."""
    resource_group(parser)
    parser.add_argument("-w", "--workspace", metavar="NAME", type=given, required=True, help="workspace")


def experiment(parser: argparse.ArgumentParser) -> None:
    """-g, -w and -e: where jobs live."""
    workspace(parser)
    parser.add_argument("-e", "--experiment", metavar="NAME", type=given, required=True, help="experiment")


def own_name(parser: argparse.ArgumentParser, what: str, *aliases: str) -> None:
    """-n: the name of the resource itself."""
    parser.add_argument("-n", "--name", *aliases, dest="name", type=given, required=True, help=f"name of the {what}")


def ids(parser: argparse.ArgumentParser, *collections: str) -> None:
    """--ids: resources by their ids, in the place of all their names; `collections` are those of the id."""
    parser.add_argument("--ids", nargs="+", metavar="ID", action=_Ids, help="ids, in the place of the names")
    parser.set_defaults(collections=collections)


class _Ids(argparse.Action):
    """What the ids name need not be given otherwise."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, values)
        for action in parser._actions:
            if action.dest in (*_PARENTS.values(), "name"):
                action.required = False


_PARENTS = {"resourcegroups": "resource_group", "workspaces": "workspace", "experiments": "experiment"}


def by_ids(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The arguments once for each of --ids, with the names in it. Raises UsageProblem for an id of something else."""
    for resource_id in args.ids:
        parts = {collection.lower(): name for collection, name in id_parts(resource_id).items()}
        if list(parts) != ["subscriptions", "resourcegroups", "providers", *args.collections]:
            path = "".join(f"/{collection}/…" for collection in args.collections)
            raise UsageProblem(
                f"--ids: '{resource_id}' is no id of this kind.",
                f"One looks like this: /subscriptions/…/resourceGroups/…/providers/Microsoft.BatchAI{path}",
            )
        names = {_PARENTS[collection]: parts[collection] for collection in ("resourcegroups", *args.collections[:-1])}
        yield argparse.Namespace(**{**vars(args), **names, "name": parts[args.collections[-1]]})


def count(text: str) -> int:
    """A type of arguments: a number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no number")
    return int(text)


def seconds(text: str) -> float:
    """A type of arguments: a pause."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds above 0")
    return value


def administrator(parser: argparse.ArgumentParser) -> None:
    """The options for the account that az made on nodes and file servers."""
    group = parser.add_argument_group("administrator")
    group.add_argument("-u", "--user-name", metavar="NAME", help="(the current user)")
    group.add_argument("-p", "--password", help="not kept: nodes of Kubernetes get no accounts")
    group.add_argument("-k", "--ssh-key", metavar="KEY", help="public key or its file (~/.ssh/id_rsa.pub)")
    group.add_argument("--generate-ssh-keys", action="store_true", help="make ~/.ssh/id_rsa if it is absent")


def no_wait(parser: argparse.ArgumentParser) -> None:
    """--no-wait."""
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the operation to finish")


def storage_account(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """The options that name a storage account and who may use it; their group, for more of storage."""
    group = parser.add_argument_group("storage")
    group.add_argument("--storage-account-name", metavar="ACCOUNT", help="or AZURE_BATCHAI_STORAGE_ACCOUNT")
    group.add_argument("--storage-account-key", metavar="KEY", help="or AZURE_BATCHAI_STORAGE_KEY")
    group.add_argument(
        "--storage-account-sas", metavar="TOKEN", help="a SAS token in the place of a key, for containers"
    )
    return group


def storage(parser: argparse.ArgumentParser) -> None:
    """The options for storage and file servers that clusters and jobs share (Batch AI reference §8)."""
    group = storage_account(parser)
    group.add_argument("--afs-name", metavar="SHARE", help="Azure file share to mount")
    group.add_argument("--afs-mount-path", metavar="PATH", default="afs", help="where to mount it (afs)")
    group.add_argument("--bfs-name", metavar="CONTAINER", help="blob container to mount")
    group.add_argument("--bfs-mount-path", metavar="PATH", default="bfs", help="where to mount it (bfs)")
    group.add_argument("--nfs", metavar="NAME", help="file server to mount")
    group.add_argument("--nfs-mount-path", metavar="PATH", default="nfs", help="where to mount it (nfs)")
