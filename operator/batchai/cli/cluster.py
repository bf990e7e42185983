"""`batchai cluster`: create, show, list, delete."""

import getpass
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from batchai.cli import accounts, arguments, clusterfile, configfile, lookup, shapes
from batchai.cli.arguments import Group
from batchai.cli.kube import Object
from batchai.cli.lookup import CLUSTER, WORKSPACE, Path
from batchai.cli.output import Row
from batchai.cli.session import Session


def register(commands: Group) -> None:
    """Adds the commands."""
    clusters = commands.group("cluster", "Clusters: the nodes that jobs run on, and their queue.")
    parser = clusters.command("create", "Create a cluster.", create, _row)
    _name(parser)
    parser.add_argument("-f", "--config-file", metavar="FILE", help="the cluster as JSON; options win over it")
    nodes = parser.add_argument_group("nodes")
    nodes.add_argument("-s", "--vm-size", metavar="SIZE", help="VM size (the nodes' instance type)")
    nodes.add_argument("-t", "--target", type=_count, metavar="COUNT", help="number of nodes")
    nodes.add_argument("--min", type=_count, metavar="COUNT", help="least number of nodes (auto-scale)")
    nodes.add_argument("--max", type=_count, metavar="COUNT", help="greatest number of nodes (auto-scale)")
    nodes.add_argument("--vm-priority", choices=("dedicated", "lowpriority"), help="(dedicated)")
    nodes.add_argument("-i", "--image", help="UbuntuLTS, UbuntuDSVM or publisher:offer:sku:version")
    nodes.add_argument("--custom-image", metavar="ID", help="id of a VM image made of --image")
    nodes.add_argument("--subnet", metavar="ID", help="id of a subnet")
    nodes.add_argument("--setup-task", metavar="COMMAND", help="command line to run on each node")
    nodes.add_argument("--setup-task-output", metavar="PATH", help="where its output goes; required with it")
    admin = parser.add_argument_group("administrator")
    admin.add_argument("-u", "--user-name", metavar="NAME", help="(the current user)")
    admin.add_argument("-p", "--password", help="not kept: nodes of Kubernetes get no accounts")
    admin.add_argument("-k", "--ssh-key", metavar="KEY", help="public key or its file (~/.ssh/id_rsa.pub)")
    admin.add_argument("--generate-ssh-keys", action="store_true", help="make ~/.ssh/id_rsa if it is absent")
    arguments.storage(parser)
    arguments.no_wait(parser)
    _name(clusters.command("show", "Show a cluster.", show, _row))
    arguments.workspace(clusters.command("list", "List the clusters of a workspace.", list_all, _row))
    parser = clusters.command("delete", "Delete a cluster.", delete, ask=True)
    _name(parser)
    arguments.no_wait(parser)


def _name(parser: ArgumentParser) -> None:
    arguments.own_name(parser, "cluster", "-c", "--cluster")
    arguments.workspace(parser)


def _count(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"'{text}' is no number of nodes")
    return int(text)


def _path(args: Namespace) -> Path:
    return Path(args.resource_group, args.workspace, name=args.name)


def create(args: Namespace, session: Session) -> Object:
    """Creates the cluster of a config file and the options, and the Secrets that its mounts need."""
    given = accounts.given(session.environ, args.storage_account_name, args.storage_account_key)
    file = clusterfile.read(vars(args), given, getpass.getuser)
    for warning in file.warnings:
        session.say(f"WARNING: {warning}")
    path = _path(args)
    workspace = lookup.find(session, WORKSPACE, Path(args.resource_group, name=args.workspace))
    name = lookup.free_name(session, CLUSTER, path)
    secrets = accounts.provide_all(session, path.namespace, given, file.keys)
    spec = file.spec(cluster=name, workspace=workspace["metadata"]["name"], accounts=secrets)
    body = lookup.manifest(CLUSTER, path, name, spec)
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
