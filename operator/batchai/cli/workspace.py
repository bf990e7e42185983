"""`batchai workspace`."""

from argparse import ArgumentParser, Namespace

from batchai.cli import arguments, group, lookup, shapes
from batchai.cli.arguments import Group
from batchai.cli.kube import CLUSTERS, EXPERIMENTS, FILE_SERVERS, JOBS, Object
from batchai.cli.lookup import WORKSPACE, Path
from batchai.cli.output import Row
from batchai.cli.session import Session


def register(commands: Group) -> None:
    """Adds the commands."""
    workspaces = commands.group("workspace", "Workspaces: groups of clusters, file servers and experiments.")
    parser = workspaces.command("create", "Create a workspace.", create, _row)
    _name(parser)
    parser.add_argument("-l", "--location", help="free text (the resource group's location)")
    arguments.no_wait(parser)
    _name(workspaces.command("show", "Show a workspace.", show, _row, watch=True), by_id=True)
    parser = workspaces.command(
        "list", "List the workspaces of a resource group, or of all.", list_all, _row, watch=True
    )
    arguments.resource_group(parser, required=False)
    parser = workspaces.command("delete", "Delete a workspace and all that is in it.", delete, ask=True)
    _name(parser, by_id=True)
    arguments.no_wait(parser)


def _name(parser: ArgumentParser, *, by_id: bool = False) -> None:
    arguments.own_name(parser, "workspace", "-w", "--workspace")
    arguments.resource_group(parser)
    if by_id:
        arguments.ids(parser, "workspaces")


def _path(args: Namespace) -> Path:
    return Path(args.resource_group, name=args.name)


def create(args: Namespace, session: Session) -> Object:
    """Creates a workspace."""
    created = make(session, _path(args), args.location)
    if not args.no_wait:
        created = lookup.provisioned(session, WORKSPACE, created)
    return shapes.workspace(created, lookup.subscription(session))


def make(session: Session, path: Path, location: str | None) -> Object:
    """The new workspace; location None: that of its resource group. Raises Problem if it exists."""
    name = lookup.free_name(session, WORKSPACE, path)
    place = location if location is not None else group.location(session, path.namespace)
    body = lookup.manifest(WORKSPACE, path, name, {"location": place} if place else {})
    return lookup.create(session, WORKSPACE, path, body)


def show(args: Namespace, session: Session) -> Object:
    """One workspace."""
    return shapes.workspace(lookup.find(session, WORKSPACE, _path(args)), lookup.subscription(session))


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The workspaces of a resource group, or of all."""
    found = lookup.list_in(session, WORKSPACE, Path(args.resource_group or ""))
    subscription = lookup.subscription(session)
    return [shapes.workspace(item, subscription) for item in found]


def delete(args: Namespace, session: Session) -> None:
    """Deletes a workspace; what is in it follows by its ownerReferences."""
    labels = Path(args.resource_group, workspace=args.name).labels
    below = dict.fromkeys((JOBS, EXPERIMENTS, CLUSTERS, FILE_SERVERS), labels)
    lookup.delete(session, WORKSPACE, _path(args), wait=not args.no_wait, below=below)


def _row(workspace: Object) -> Row:
    return {
        "Name": workspace["name"],
        "Resource Group": workspace["resourceGroup"],
        "Location": workspace["location"],
        "State": workspace["provisioningState"],
    }
