"""Resources by their Azure names: finding, naming, creating, awaiting and deleting them.

The Azure name lives in labels, the Kubernetes name follows from it; so one job name can live in two
experiments (design §1).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchai.api import names
from batchai.cli import kube
from batchai.cli.kube import Object, Resource
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.cli.session import CREATE_SECONDS, DELETE_SECONDS, Session, api_outage
from batchai.cli.shapes import label
from batchai.errors import KubeApiError
from batchai.plan.naming import azure_name, resource_name, unique_resource_name

NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"

_AZURE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABELS = (names.LABEL_WORKSPACE, names.LABEL_EXPERIMENT, names.LABEL_NAME)


@dataclass(frozen=True)
class Kind:
    """A kind of Batch AI resource: its API resource, its name in sentences, the longest Kubernetes name."""

    resource: Resource
    api_kind: str
    title: str
    longest: int = 63

    @property
    def command(self) -> str:
        """The group of its commands."""
        return self.title.replace(" ", "-")


WORKSPACE = Kind(kube.WORKSPACES, "Workspace", "workspace")
CLUSTER = Kind(kube.CLUSTERS, "Cluster", "cluster")
EXPERIMENT = Kind(kube.EXPERIMENTS, "Experiment", "experiment")
FILE_SERVER = Kind(kube.FILE_SERVERS, "FileServer", "file server")
JOB = Kind(kube.JOBS, "Job", "job", longest=50)
"""A job's pods and services add to its name."""


@dataclass(frozen=True)
class Path:
    """Where a resource lives: Azure names, outermost first (the resource's own name is the last)."""

    namespace: str
    workspace: str = ""
    experiment: str = ""
    name: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """The labels that identify the resource; those of names that are not given are left out."""
        given = zip(_LABELS, (self.workspace, self.experiment, self.name), strict=True)
        return {label: name for label, name in given if name}


def find(session: Session, kind: Kind, path: Path) -> Object:
    """The resource at `path`. Raises NotFound with what is missing: namespace, parent or resource."""
    found = _labelled(session, kind, path) if path.name else []
    if found:
        return found[0]
    _check_parents(session, path)
    raise _missing(kind, path)


def list_in(session: Session, kind: Kind, path: Path) -> list[Object]:
    """The resources of a kind below `path`, ordered by name; NotFound if a part of the path is missing."""
    found = _labelled(session, kind, path)
    if not found and path.namespace:
        _check_parents(session, path)
    return sorted(found, key=lambda item: (item["metadata"]["namespace"], azure_name(item)))


def _labelled(session: Session, kind: Kind, path: Path) -> list[Object]:
    if not all(_LABEL_VALUE.fullmatch(value) for value in path.labels.values()):
        return []  # nothing can have such a name, and the API would not understand the question
    return session.kube.list(kind.resource, path.namespace or None, path.labels)


def _check_parents(session: Session, path: Path) -> None:
    check_group(session, path.namespace)
    if path.workspace:
        above = Path(path.namespace, name=path.workspace)
        if not _labelled(session, WORKSPACE, above):
            raise _missing(WORKSPACE, above)
    if path.experiment:
        above = Path(path.namespace, path.workspace, name=path.experiment)
        if not _labelled(session, EXPERIMENT, above):
            raise _missing(EXPERIMENT, above)


def _missing(kind: Kind, path: Path) -> NotFound:
    return NotFound(
        f"{kind.title} '{path.name}' does not exist in {_place(path)}.",
        f"`kubectl batchai {kind.command} list` shows those that do.",
    )


def namespace_name(text: str) -> str:
    """A name that a namespace may have, as near to `text` as it goes (`batchai.quickstart` has a dot)."""
    return resource_name(text)[:63].rstrip("-")


def check_group(session: Session, namespace: str) -> None:
    """Raises NotFound if the namespace does not exist. Who may not read namespaces is believed."""
    try:
        session.kube.get(kube.NAMESPACES, None, namespace)
    except KubeApiError as error:
        if error.not_found:
            raise NotFound(
                f"resource group (namespace) '{namespace}' does not exist.",
                f"Make one: kubectl batchai group create -n {namespace_name(namespace)}",
            ) from error
        if error.status != 403:
            raise


def free_name(session: Session, kind: Kind, path: Path) -> str:
    """The Kubernetes name for a new resource at `path`.

    A name that another resource took gets a suffix made of the whole path. Raises Problem if the
    resource exists, UsageProblem if the Azure name does not fit into a label.
    """
    if not _AZURE_NAME.fullmatch(path.name):
        raise UsageProblem(
            f"'{path.name}' is no name for a {kind.title}: it takes 1 to 63 letters, digits, '-' and '_',"
            " with a letter or digit at both ends."
        )
    if _labelled(session, kind, path):
        raise already_exists(kind, path)
    plain = resource_name(path.name)
    if len(plain) <= kind.longest and session.find_named(kind.resource, path.namespace, plain) is None:
        return plain
    unique = unique_resource_name(path.name, path.workspace, path.experiment)
    suffix = unique[-7:]
    return unique.removesuffix(suffix)[: kind.longest - len(suffix)].rstrip("-") + suffix


def already_exists(kind: Kind, path: Path) -> Problem:
    """What a create answers for a name that is taken."""
    return Problem(
        f"{kind.title} '{path.name}' already exists in {_place(path)}.",
        "Choose another name, or delete it first.",
    )


def manifest(kind: Kind, path: Path, name: str, spec: Object) -> Object:
    """The resource to create."""
    metadata = {"name": name, "namespace": path.namespace, "labels": path.labels}
    return {"apiVersion": names.API_VERSION, "kind": kind.api_kind, "metadata": metadata, "spec": spec}


def create(session: Session, kind: Kind, path: Path, body: Object, secrets: Sequence[Object] = ()) -> Object:
    """Creates a resource and the Secrets that are its own: these first, so that no pod meets their absence.

    Raises Problem if one of its name exists, NotFound if its namespace does not.
    """
    made = [_put_secret(session, secret)["metadata"] for secret in secrets]
    try:
        created = session.kube.create(kind.resource, path.namespace, body)
    except KubeApiError as error:
        if api_outage(error):
            raise  # the resource may be there, and needs them
        for secret in made:
            session.kube.delete(kube.SECRETS, path.namespace, secret["name"], secret["uid"])
        if error.already_exists:
            if _labelled(session, kind, path):
                raise already_exists(kind, path) from error
            raise _just_taken(kind.title, body["metadata"]["name"]) from error
        if error.not_found:
            check_group(session, path.namespace)
        raise
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": kind.api_kind,
        "name": created["metadata"]["name"],
        "uid": created["metadata"]["uid"],
    }
    for secret in made:
        session.kube.patch(kube.SECRETS, path.namespace, secret["name"], {"metadata": {"ownerReferences": [owner]}})
    return created


def _just_taken(title: str, name: str) -> Problem:
    """What is answered to the slower of two that made resources of one Kubernetes name at the same time."""
    return Problem(f"another {title} took the Kubernetes name '{name}' at the same time.", "Give the command again.")


def _put_secret(session: Session, secret: Object) -> Object:
    """Creates a Secret in the place of one that an earlier resource of the same name left behind."""
    namespace, name = secret["metadata"]["namespace"], secret["metadata"]["name"]
    stale = session.find_named(kube.SECRETS, namespace, name)
    if stale is not None:
        if label(stale, names.LABEL_MANAGED_BY) != names.MANAGED_BY:
            raise Problem(
                f"Secret '{name}' in '{namespace}' is in the way.",
                f"Choose another name, or delete it: kubectl delete secret -n {namespace} {name}",
            )
        if stale["metadata"].get("ownerReferences"):
            raise Problem(
                f"Secret '{name}' in '{namespace}' belongs to another resource.",
                "Give the command again when that is gone, or choose another name.",
            )
        session.kube.delete(kube.SECRETS, namespace, name, stale["metadata"]["uid"])
    return session.kube.create(kube.SECRETS, namespace, secret)


def provisioned(session: Session, kind: Kind, created: Object) -> Object:
    """The resource as it is once its provisioningState is decided; after a minute without one, as it is."""
    namespace, name = created["metadata"]["namespace"], created["metadata"]["name"]
    last = created

    def probe() -> Object | None:
        nonlocal last
        last = session.kube.get(kind.resource, namespace, name)
        return last if provisioning_state(last) not in ("", "creating") else None

    if session.poll(probe, CREATE_SECONDS, f"The {kind.title} is being made") is None:
        why = next((item["message"].rstrip(".") for item in last.get("status", {}).get("conditions", [])), None)
        session.say(
            f"The {kind.title} is still being made: {why}."
            if why
            else f"The {kind.title} is accepted, but the operator has not answered within {CREATE_SECONDS} s."
            " Is it running? kubectl get pods -n batchai-system"
        )
    return last


def provisioning_state(item: Object) -> str:
    """status.provisioningState, empty before the operator has seen the resource."""
    return str(item.get("status", {}).get("provisioningState") or "")


def delete(
    session: Session,
    kind: Kind,
    path: Path,
    *,
    wait: bool,
    below: Mapping[Resource, Mapping[str, str]] | None = None,
) -> None:
    """Deletes a resource and, with `wait`, returns when it and all `below` it (by labels) are gone."""
    item = find(session, kind, path)
    name, uid = item["metadata"]["name"], item["metadata"]["uid"]
    try:
        session.kube.delete(kind.resource, path.namespace, name, uid)
    except KubeApiError as error:
        if not error.not_found and error.status != 409:  # 409: another one has the name already
            raise
    if not wait:
        return

    def gone() -> bool | None:
        current = session.find_named(kind.resource, path.namespace, name)
        if current is not None and current["metadata"]["uid"] == uid:
            return None
        children = (session.kube.list(r, path.namespace, labels) for r, labels in (below or {}).items())
        return None if any(children) else True

    if session.poll(gone, DELETE_SECONDS, f"The {kind.title} is being deleted") is None:
        raise Problem(
            f"{kind.title} '{path.name}' is being deleted, but not gone after {DELETE_SECONDS} s.",
            f"What holds it: kubectl describe {kind.resource.plural}.batchai.dev -n {path.namespace} {name}",
        )


def subscription(session: Session) -> str:
    """The id that stands for the subscription: the UID of the kube-system namespace (design §1).

    Zeros for users who may not read it.
    """
    try:
        return str(session.kube.get(kube.NAMESPACES, None, "kube-system")["metadata"]["uid"])
    except KubeApiError as error:
        if error.status in (401, 403, 404):
            return NO_SUBSCRIPTION
        raise


def _place(path: Path) -> str:
    parts = [
        f"experiment '{path.experiment}'" if path.experiment else "",
        f"workspace '{path.workspace}'" if path.workspace else "",
        f"resource group '{path.namespace}'",
    ]
    return " of ".join(part for part in parts if part)
