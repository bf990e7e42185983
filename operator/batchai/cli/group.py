"""`batchai group`: resource groups as namespaces, so that a Batch AI quickstart needs no other tool."""

import re
from argparse import Namespace

from batchai.api import names
from batchai.cli import arguments, kube
from batchai.cli.arguments import Group
from batchai.cli.kube import Object
from batchai.cli.lookup import check_group, namespace_name, subscription
from batchai.cli.output import Row
from batchai.cli.problems import Problem, UsageProblem
from batchai.cli.session import DELETE_SECONDS, Session
from batchai.errors import KubeApiError

ANNOTATION_LOCATION = f"{names.GROUP}/location"

_OURS = {f"{names.GROUP}/resource-group": "true"}
_NAMESPACE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def register(commands: Group) -> None:
    """Adds the commands."""
    group = commands.group("group", "Resource groups, each a namespace.")
    parser = group.command("create", "Create a resource group.", create, _row)
    arguments.own_name(parser, "resource group", "-g", "--resource-group")
    parser.add_argument("-l", "--location", default="", help="free text, the default of its workspaces")
    parser = group.command("show", "Show a resource group.", show, _row)
    arguments.own_name(parser, "resource group", "-g", "--resource-group")
    group.command("list", "List the resource groups that `group create` made.", list_groups, _row)
    parser = group.command("delete", "Delete a resource group and all that is in it.", delete, ask=True)
    arguments.own_name(parser, "resource group", "-g", "--resource-group")
    arguments.no_wait(parser)


def create(args: Namespace, session: Session) -> Object:
    """Makes the namespace; one that exists is left as it is, as az does."""
    return _shape(provide(session, args.name, args.location), subscription(session))


def provide(session: Session, name: str, place: str) -> Object:
    """The namespace, made unless it exists. Raises UsageProblem if no namespace can have the name."""
    if not _NAMESPACE_NAME.fullmatch(name):
        raise UsageProblem(
            f"'{name}' cannot name a namespace: small letters, digits and '-', at most 63, no dots.",
            f"For example: {namespace_name(name)}",
        )
    existing = session.find_named(kube.NAMESPACES, None, name)
    metadata = {"name": name, "labels": _OURS, "annotations": {ANNOTATION_LOCATION: place}}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    return existing or session.kube.create(kube.NAMESPACES, None, body)


def show(args: Namespace, session: Session) -> Object:
    """One namespace, whoever made it."""
    check_group(session, args.name)
    return _shape(session.kube.get(kube.NAMESPACES, None, args.name), subscription(session))


def list_groups(_args: Namespace, session: Session) -> list[Object]:
    """The namespaces that `create` made."""
    found = session.kube.list(kube.NAMESPACES, None, _OURS)
    subscription_id = subscription(session)
    return [_shape(item, subscription_id) for item in found]


def delete(args: Namespace, session: Session) -> None:
    """Deletes a namespace that `create` made; others may hold what no resource group would."""
    check_group(session, args.name)
    namespace = session.kube.get(kube.NAMESPACES, None, args.name)
    if _OURS.items() - namespace["metadata"].get("labels", {}).items():
        raise Problem(
            f"namespace '{args.name}' was not made by `batchai group create`, so it is not deleted here.",
            f"To delete it with all that is in it: kubectl delete namespace {args.name}",
        )
    try:
        session.kube.delete(kube.NAMESPACES, None, args.name)
    except KubeApiError as error:
        if not (error.not_found or error.status == 409):  # 409: it is being deleted already
            raise
    if args.no_wait:
        return

    def gone() -> bool | None:
        return True if session.find_named(kube.NAMESPACES, None, args.name) is None else None

    if session.poll(gone, DELETE_SECONDS, "The resource group is being deleted") is None:
        raise Problem(
            f"resource group '{args.name}' is being deleted, but not gone after {DELETE_SECONDS} s.",
            f"What holds it: kubectl describe namespace {args.name}",
        )


def location(session: Session, name: str) -> str:
    """A resource group's location, empty if it has none or may not be read."""
    try:
        metadata = session.kube.get(kube.NAMESPACES, None, name)["metadata"]
    except KubeApiError as error:
        if error.status in (401, 403, 404):
            return ""
        raise
    return str(metadata.get("annotations", {}).get(ANNOTATION_LOCATION, ""))


def _shape(namespace: Object, subscription_id: str) -> Object:
    """A namespace as `az group show` prints a resource group."""
    metadata = namespace["metadata"]
    deleting = namespace.get("status", {}).get("phase") == "Terminating"
    return {
        "id": f"/subscriptions/{subscription_id}/resourceGroups/{metadata['name']}",
        "location": metadata.get("annotations", {}).get(ANNOTATION_LOCATION, ""),
        "managedBy": None,
        "name": metadata["name"],
        "properties": {"provisioningState": "Deleting" if deleting else "Succeeded"},
        "tags": None,
    }


def _row(group: Object) -> Row:
    return {
        "Name": group["name"],
        "Location": group["location"],
        "Status": group["properties"]["provisioningState"],
    }
