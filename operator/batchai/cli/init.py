"""`batchai init`: a resource group made ready for jobs, and what the Kubernetes cluster has for them."""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence

from batchai.api import names
from batchai.cli import accounts, arguments, group, kube, lookup, workspace
from batchai.cli.arguments import Group
from batchai.cli.kube import Object, Resource
from batchai.cli.lookup import WORKSPACE, Path
from batchai.cli.output import Row
from batchai.cli.problems import NotFound, Problem
from batchai.cli.session import Session
from batchai.errors import KubeApiError
from batchai.plan.mounts import BLOB_DRIVER, FILE_DRIVER

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_DRIVERS = {
    FILE_DRIVER: ("Azure Files", "https://github.com/kubernetes-sigs/azurefile-csi-driver"),
    BLOB_DRIVER: ("Azure Blob", "https://github.com/kubernetes-sigs/blob-csi-driver"),
}


def register(commands: Group) -> None:
    """Adds the command."""
    about = "Make a resource group ready for jobs, and look what the Kubernetes cluster has for them."
    parser = commands.command("init", about, init, _row)
    arguments.workspace(parser)
    parser.add_argument("-l", "--location", default="", help="free text, of a new resource group")
    arguments.storage_account(parser)


def init(args: Namespace, session: Session) -> list[Object]:
    """Makes what is missing of group, workspace and account's Secret; the findings, one for each thing looked at.

    What exists stays as it is, so it can be run again. Raises Problem if Batch AI is not installed.
    """
    known = accounts.of_arguments(args, session.environ)
    if known.name:
        accounts.check_name(known.name, "--storage-account-name")
    _check_installed(session, args.resource_group)
    group.provide(session, args.resource_group, args.location)
    findings = [_finding("resourceGroup", "ok", f"'{args.resource_group}' is there")]
    findings.append(_workspace(session, Path(args.resource_group, name=args.workspace)))
    findings.append(_account(session, args.resource_group, known))
    for look in (_sizes, _drivers, _classes):
        findings.extend(look(session))
    return findings


def _finding(what: str, result: str, message: str) -> Object:
    return {"name": what, "result": result, "message": message}


def _check_installed(session: Session, namespace: str) -> None:
    try:
        session.kube.list(kube.WORKSPACES, namespace)
    except KubeApiError as error:
        if not error.not_found:
            raise
        raise Problem(
            "this Kubernetes cluster does not know Batch AI's resources.",
            "An administrator installs them and the operator: kubectl apply -k manifests/",
        ) from error


def _workspace(session: Session, path: Path) -> Object:
    try:
        item = lookup.find(session, WORKSPACE, path)
    except NotFound:
        item = lookup.provisioned(session, WORKSPACE, workspace.make(session, path, None))
    if lookup.provisioning_state(item) == "succeeded":
        return _finding("workspace", "ok", f"'{path.name}' is there, and the operator answers")
    return _finding("workspace", "missing", "the operator does not answer: kubectl get pods -n batchai-system")


def _account(session: Session, namespace: str, known: accounts.Given) -> Object:
    if known.name is None:
        return _finding("storageAccount", "none", "no account was named; claims and file servers need none")
    account = known.accounts.get(known.name)
    if account is not None:
        secret = accounts.provide_all(session, namespace, known, {known.name: None})[known.name]
        return _finding("storageAccount", "ok", f"Secret '{secret}' has the credential of '{known.name}'")
    return _finding(
        "storageAccount",
        "missing",
        f"no key of '{known.name}' was given: kubectl batchai storage add -g {namespace} -n {known.name}",
    )


def _sizes(session: Session) -> Iterator[Object]:
    nodes = _list(session, kube.NODES)
    if nodes is None:
        yield _finding("vmSizes", "unknown", "you may not list nodes; batchai-observer allows it")
        return
    labels = (node["metadata"].get("labels", {}) for node in nodes)
    sizes = Counter(each[names.INSTANCE_TYPE_LABEL] for each in labels if names.INSTANCE_TYPE_LABEL in each)
    if sizes:
        yield _finding("vmSizes", "ok", ", ".join(f"{size} ({count})" for size, count in sorted(sizes.items())))
    else:
        yield _finding(
            "vmSizes", "missing", f"no node has the label {names.INSTANCE_TYPE_LABEL}; clusters find nodes by it"
        )


def _drivers(session: Session) -> Iterator[Object]:
    found = _list(session, kube.CSI_DRIVERS)
    present = {item["metadata"]["name"] for item in found or ()}
    for driver, (what, source) in _DRIVERS.items():
        if found is None:
            yield _finding(driver, "unknown", "you may not list csidrivers; batchai-observer allows it")
        elif driver in present:
            yield _finding(driver, "ok", f"{what} can be mounted")
        else:
            yield _finding(driver, "missing", f"{what} cannot be mounted without it: {source}")


def _classes(session: Session) -> Iterator[Object]:
    found = _list(session, kube.STORAGE_CLASSES)
    if found is None:
        yield _finding("storageClass", "unknown", "you may not list storageclasses; batchai-observer allows it")
        return
    default = [
        item["metadata"]["name"]
        for item in found
        if item["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true"
    ]
    if default:
        yield _finding("storageClass", "ok", f"'{default[0]}' is the default for claims and file servers")
    else:
        yield _finding("storageClass", "missing", "none is the default; auto storage and file servers must name one")


def _list(session: Session, resource: Resource) -> Sequence[Object] | None:
    """The objects of the whole cluster; None for who may not list them."""
    try:
        return session.kube.list(resource, None)
    except KubeApiError as error:
        if error.status != 403:
            raise
        return None


def _row(finding: Object) -> Row:
    return {"Name": finding["name"], "Result": finding["result"], "Message": finding["message"]}
