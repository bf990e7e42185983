"""`batchai file-server`: create, show, list, delete."""

from argparse import ArgumentParser, Namespace

from batchai.cli import arguments, configfile, fileserverfile, lookup, shapes, ssh
from batchai.cli.arguments import Group
from batchai.cli.kube import Object
from batchai.cli.lookup import FILE_SERVER, WORKSPACE, Path
from batchai.cli.output import Row
from batchai.cli.session import Session
from batchai.plan.file_server import claim_name


def register(commands: Group) -> None:
    """Adds the commands."""
    servers = commands.group("file-server", "File servers: managed NFS servers.")
    parser = servers.command("create", "Create a file server.", create, _row)
    _name(parser)
    parser.add_argument("-f", "--config-file", metavar="FILE", help="the file server as JSON; options win over it")
    size = parser.add_argument_group("storage")
    size.add_argument("-s", "--vm-size", metavar="SIZE", help="VM size")
    size.add_argument("--disk-count", type=arguments.count, metavar="COUNT", help="number of disks")
    size.add_argument("--disk-size", type=arguments.count, metavar="GB", help="size of each disk in GB")
    size.add_argument("--storage-sku", choices=("Premium_LRS", "Standard_LRS"), help="kind of disks")
    size.add_argument("--caching-type", choices=("none", "readonly", "readwrite"), help="caching of the disks (none)")
    size.add_argument("--subnet", metavar="ID", help="id of a subnet")
    arguments.administrator(parser)
    arguments.no_wait(parser)
    parser = servers.command("show", "Show a file server.", show, _row, watch=True)
    _name(parser, by_id=True)
    arguments.workspace(servers.command("list", "List the file servers of a workspace.", list_all, _row, watch=True))
    parser = servers.command("delete", "Delete a file server.", delete, ask=True)
    _name(parser, by_id=True)
    arguments.no_wait(parser)


def _name(parser: ArgumentParser, *, by_id: bool = False) -> None:
    arguments.own_name(parser, "file server")
    arguments.workspace(parser)
    if by_id:
        arguments.ids(parser, "workspaces", "fileservers")


def _path(args: Namespace) -> Path:
    return Path(args.resource_group, args.workspace, name=args.name)


def create(args: Namespace, session: Session) -> Object:
    """Creates the file server of a config file and the options."""
    file = fileserverfile.read(vars(args), _administrator)
    for warning in file.warnings:
        session.say(f"WARNING: {warning}")
    workspace = lookup.find(session, WORKSPACE, Path(args.resource_group, name=args.workspace))
    path = _path(args)
    name = lookup.free_name(session, FILE_SERVER, path)
    spec = {**file.properties, "workspace": workspace["metadata"]["name"]}
    with configfile.refusals_of(file.source):
        created = lookup.create(session, FILE_SERVER, path, lookup.manifest(FILE_SERVER, path, name, spec))
    if not args.no_wait:
        created = lookup.provisioned(session, FILE_SERVER, created)
    return shapes.file_server(created, lookup.subscription(session))


def _administrator() -> str:
    """Who runs the command, unless that is root, which a file server lets nobody be."""
    user = ssh.current_user()
    return user if user != "root" else "batchai"


def show(args: Namespace, session: Session) -> Object:
    """One file server."""
    return shapes.file_server(lookup.find(session, FILE_SERVER, _path(args)), lookup.subscription(session))


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The file servers of a workspace."""
    found = lookup.list_in(session, FILE_SERVER, Path(args.resource_group, args.workspace))
    subscription = lookup.subscription(session)
    return [shapes.file_server(item, subscription) for item in found]


def delete(args: Namespace, session: Session) -> None:
    """Deletes a file server; says where its data stays, if it does."""
    item = lookup.find(session, FILE_SERVER, _path(args))
    lookup.delete(session, FILE_SERVER, _path(args), wait=not args.no_wait)
    if item["spec"].get("reclaimPolicy", "Retain") == "Retain":
        claim, namespace = claim_name(item["metadata"]["name"]), item["metadata"]["namespace"]
        session.say(
            f"Its data stays in the claim {claim}, for the next file server of the name."
            f" To give it up: kubectl delete pvc {claim} -n {namespace}"
        )


def _row(server: Object) -> Row:
    disks, mount = server["dataDisks"], server["mountSettings"] or {}
    return {
        "Name": server["name"],
        "Resource Group": server["resourceGroup"],
        "Size": server["vmSize"],
        "Disks": f"{disks['diskCount']} x {disks['diskSizeInGb']} Gb",
        "Public IP": mount.get("fileServerPublicIp"),
        "Internal IP": mount.get("fileServerInternalIp"),
        "Mount Point": mount.get("mountPoint"),
    }
