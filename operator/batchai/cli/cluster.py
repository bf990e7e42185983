"""`batchai cluster`: create, show, list, delete, resize, auto-scale."""

from argparse import ArgumentParser, Namespace

from batchai.cli import accounts, arguments, autostorage, clusterfile, configfile, lookup, shapes, ssh
from batchai.cli.arguments import Group
from batchai.cli.kube import Object
from batchai.cli.lookup import CLUSTER, WORKSPACE, Path
from batchai.cli.output import Row
from batchai.cli.scaling import automatic, manual
from batchai.cli.session import Session


def register(commands: Group) -> Group:
    """Adds the commands; returns the group, for those of nodes and files."""
    clusters = commands.group("cluster", "Clusters: the nodes that jobs run on, and their queue.")
    parser = clusters.command("create", "Create a cluster.", create, _row)
    _name(parser)
    parser.add_argument("-f", "--config-file", metavar="FILE", help="the cluster as JSON; options win over it")
    nodes = parser.add_argument_group("nodes")
    nodes.add_argument("-s", "--vm-size", metavar="SIZE", help="VM size (the nodes' instance type)")
    nodes.add_argument("-t", "--target", type=arguments.count, metavar="COUNT", help="number of nodes")
    nodes.add_argument("--min", type=arguments.count, metavar="COUNT", help="least number of nodes (auto-scale)")
    nodes.add_argument("--max", type=arguments.count, metavar="COUNT", help="greatest number of nodes (auto-scale)")
    nodes.add_argument("--vm-priority", choices=("dedicated", "lowpriority"), help="(dedicated)")
    nodes.add_argument("-i", "--image", help="UbuntuLTS, UbuntuDSVM or publisher:offer:sku:version")
    nodes.add_argument("--custom-image", metavar="ID", help="id of a VM image made of --image")
    nodes.add_argument("--subnet", metavar="ID", help="id of a subnet")
    nodes.add_argument("--setup-task", metavar="COMMAND", help="command line to run on each node")
    nodes.add_argument("--setup-task-output", metavar="PATH", help="where its output goes; required with it")
    arguments.administrator(parser)
    arguments.storage(parser)
    parser.add_argument(
        "--use-auto-storage", action="store_true", help="mount two claims of the group as autoafs and autobfs"
    )
    parser.add_argument("--auto-storage-class", metavar="CLASS", help="their StorageClass (the default one)")
    arguments.no_wait(parser)
    _name(clusters.command("show", "Show a cluster.", show, _row, watch=True), by_id=True)
    arguments.workspace(clusters.command("list", "List the clusters of a workspace.", list_all, _row, watch=True))
    parser = clusters.command("delete", "Delete a cluster.", delete, ask=True)
    _name(parser, by_id=True)
    arguments.no_wait(parser)
    parser = clusters.command("resize", "Give a cluster a fixed number of nodes.", resize, _row)
    _name(parser, by_id=True)
    parser.add_argument("-t", "--target", type=arguments.count, metavar="COUNT", required=True, help="number of nodes")
    parser = clusters.command("auto-scale", "Let a cluster follow its queue.", auto_scale, _row)
    _name(parser, by_id=True)
    parser.add_argument("--min", type=arguments.count, metavar="COUNT", required=True, help="least number of nodes")
    parser.add_argument("--max", type=arguments.count, metavar="COUNT", required=True, help="greatest number of nodes")
    return clusters


def _name(parser: ArgumentParser, *, by_id: bool = False) -> None:
    arguments.own_name(parser, "cluster", "-c", "--cluster")
    arguments.workspace(parser)
    if by_id:
        arguments.ids(parser, "workspaces", "clusters")


def _path(args: Namespace) -> Path:
    return Path(args.resource_group, args.workspace, name=args.name)


def create(args: Namespace, session: Session) -> Object:
    """Creates the cluster of a config file and the options, and the Secrets that its mounts need."""
    given = accounts.of_arguments(args, session.environ)
    file = clusterfile.read(vars(args), given, ssh.current_user)
    for warning in file.warnings:
        session.say(f"WARNING: {warning}")
    path = _path(args)
    workspace = lookup.find(session, WORKSPACE, Path(args.resource_group, name=args.workspace))
    name = lookup.free_name(session, CLUSTER, path)
    secrets = accounts.provide_all(session, path.namespace, given, file.keys)
    spec = file.spec(cluster=name, workspace=workspace["metadata"]["name"], accounts=secrets)
    body = lookup.manifest(CLUSTER, path, name, spec)
    if args.use_auto_storage:
        autostorage.provide(session, path.namespace, args.auto_storage_class)
    with configfile.refusals_of(file.source):
        created = lookup.create(session, CLUSTER, path, body, file.secrets(name, path.namespace))
    if not args.no_wait:
        created = lookup.provisioned(session, CLUSTER, created)
    return shapes.cluster(created, lookup.subscription(session))


def show(args: Namespace, session: Session) -> Object:
    """One cluster."""
    return shapes.cluster(lookup.find(session, CLUSTER, _path(args)), lookup.subscription(session))


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The clusters of a workspace."""
    found = lookup.list_in(session, CLUSTER, Path(args.resource_group, args.workspace))
    subscription = lookup.subscription(session)
    return [shapes.cluster(item, subscription) for item in found]


def delete(args: Namespace, session: Session) -> None:
    """Deletes a cluster; its jobs stay."""
    lookup.delete(session, CLUSTER, _path(args), wait=not args.no_wait)


def resize(args: Namespace, session: Session) -> Object:
    """Sets a fixed number of nodes; nodes come and go in the background, as with az."""
    return _scaled(args, session, {"manual": manual(args.target), "autoScale": None})


def auto_scale(args: Namespace, session: Session) -> Object:
    """Sets the bounds of a cluster that follows its queue."""
    return _scaled(args, session, {"manual": None, "autoScale": automatic(args.min, args.max)})


def _scaled(args: Namespace, session: Session, settings: Object) -> Object:
    path = _path(args)
    name = lookup.find(session, CLUSTER, path)["metadata"]["name"]
    changed = session.kube.patch(CLUSTER.resource, path.namespace, name, {"spec": {"scaleSettings": settings}})
    return shapes.cluster(changed, lookup.subscription(session))


def _row(cluster: Object) -> Row:
    deleting = cluster["provisioningState"] == "deleting"
    counts = cluster["nodeStateCounts"] or {}
    return {
        "Name": cluster["name"],
        "Resource Group": cluster["resourceGroup"],
        "Workspace": shapes.id_part(cluster["id"], "workspaces"),
        "VM Size": cluster["vmSize"],
        "State": "deleting" if deleting else cluster["allocationState"],
        "Idle": counts.get("idleNodeCount"),
        "Running": counts.get("runningNodeCount"),
        "Preparing": counts.get("preparingNodeCount"),
        "Leaving": counts.get("leavingNodeCount"),
        "Unusable": counts.get("unusableNodeCount"),
    }
