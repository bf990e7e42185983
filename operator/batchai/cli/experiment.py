"""`batchai experiment`."""

from argparse import ArgumentParser, Namespace

from batchai.cli import arguments, lookup, shapes
from batchai.cli.arguments import Group
from batchai.cli.kube import JOBS, Object
from batchai.cli.lookup import EXPERIMENT, WORKSPACE, Path
from batchai.cli.output import Row
from batchai.cli.session import Session


def register(commands: Group) -> None:
    """Adds the commands."""
    experiments = commands.group("experiment", "Experiments: groups of jobs.")
    parser = experiments.command("create", "Create an experiment.", create, _row)
    _name(parser)
    arguments.no_wait(parser)
    _name(experiments.command("show", "Show an experiment.", show, _row, watch=True), by_id=True)
    arguments.workspace(experiments.command("list", "List the experiments of a workspace.", list_all, _row, watch=True))
    parser = experiments.command("delete", "Delete an experiment and its jobs.", delete, ask=True)
    _name(parser, by_id=True)
    arguments.no_wait(parser)


def _name(parser: ArgumentParser, *, by_id: bool = False) -> None:
    arguments.own_name(parser, "experiment", "-e", "--experiment")
    arguments.workspace(parser)
    if by_id:
        arguments.ids(parser, "workspaces", "experiments")


def _path(args: Namespace) -> Path:
    return Path(args.resource_group, args.workspace, name=args.name)


def create(args: Namespace, session: Session) -> Object:
    """Creates an experiment."""
    workspace = lookup.find(session, WORKSPACE, Path(args.resource_group, name=args.workspace))
    path = _path(args)
    name = lookup.free_name(session, EXPERIMENT, path)
    body = lookup.manifest(EXPERIMENT, path, name, {"workspace": workspace["metadata"]["name"]})
    created = lookup.create(session, EXPERIMENT, path, body)
    if not args.no_wait:
        created = lookup.provisioned(session, EXPERIMENT, created)
    return shapes.experiment(created, lookup.subscription(session))


def show(args: Namespace, session: Session) -> Object:
    """One experiment."""
    return shapes.experiment(lookup.find(session, EXPERIMENT, _path(args)), lookup.subscription(session))


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The experiments of a workspace."""
    found = lookup.list_in(session, EXPERIMENT, Path(args.resource_group, args.workspace))
    subscription = lookup.subscription(session)
    return [shapes.experiment(item, subscription) for item in found]


def delete(args: Namespace, session: Session) -> None:
    """Deletes an experiment; its jobs follow by their ownerReferences."""
    below = {JOBS: Path(args.resource_group, args.workspace, args.name).labels}
    lookup.delete(session, EXPERIMENT, _path(args), wait=not args.no_wait, below=below)


def _row(experiment: Object) -> Row:
    return {
        "Name": experiment["name"],
        "Resource Group": experiment["resourceGroup"],
        "Workspace": shapes.id_part(experiment["id"], "workspaces"),
        "State": experiment["provisioningState"],
    }
