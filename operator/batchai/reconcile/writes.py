"""Writes that all reconcilers share: one status patch per pass, and what a parent means for its child."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from batchai.api import names
from batchai.api.base import Model
from batchai.errors import KubeApiError
from batchai.kube.client import Resource
from batchai.kube.store import Object
from batchai.plan.diff import merge_patch
from batchai.plan.naming import azure_name, resource_name, unique_resource_name
from batchai.reconcile import routing
from batchai.reconcile.context import Context, Key


async def write_status(context: Context, resource: Resource, raw: Object, status: Model) -> bool:
    """Writes the status if it differs from what `raw` has; whether it did.

    The patch names raw's resourceVersion, so a decision made on an old object is refused (KubeApiError 409)
    and made again on the new one. The answer goes to the store: the next pass starts from it.
    """
    wire = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = merge_patch(raw.get("status", {}), wire)
    if not patch:
        return False
    await _patch(context, resource, raw, {"status": patch}, subresource="status")
    context.written(raw, type(status).model_validate(raw.get("status", {})), status)
    return True


async def _patch(
    context: Context, resource: Resource, raw: Object, body: dict[str, Any], subresource: str | None = None
) -> None:
    metadata = raw["metadata"]
    version = {"resourceVersion": metadata["resourceVersion"]}
    body = {**body, "metadata": {**body.get("metadata", {}), **version}}
    answer = await context.api.patch(
        resource, metadata["name"], body, namespace=metadata["namespace"], subresource=subresource
    )
    context.objects.put(raw["kind"], answer)
    # The watch will bring the same version, which is no news then: what it concerns must be told now. The object
    # itself is what its reconciler made it; whoever else writes it says so.
    own = Key(raw["kind"], metadata["namespace"], metadata["name"])
    for key in routing.of_object(raw["kind"], raw, answer, context.objects):
        if key != own:
            context.queue.add(key)


async def adopted(context: Context, resource: Resource, raw: Object, parent: Object) -> Object:
    """Makes `parent` an owner of an object, so that deleting it deletes the object too; the object then.

    What somebody else made, such as a workflow, keeps that owner, and goes when both are gone.
    """
    present, owners = raw["metadata"].get("labels", {}), raw["metadata"].get("ownerReferences", [])
    labels = labels_below(parent, raw["metadata"]["name"], present)
    before = {"labels": present, "ownerReferences": owners}
    patch = merge_patch(before, {"labels": labels, "ownerReferences": _owners(owners, parent)})
    if not patch:
        return raw
    await _patch(context, resource, raw, {"metadata": patch})
    return context.objects.get(raw["kind"], raw["metadata"]["namespace"], raw["metadata"]["name"]) or raw


async def gone_is_fine(request: Coroutine[Any, Any, Any]) -> None:
    """Awaits a write to an object that may be gone, or whose name may be another's now (409, uid precondition)."""
    try:
        await request
    except KubeApiError as error:
        if not error.not_found and error.status != 409:
            raise


async def together(requests: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Requests at once, as many as the client lets through; all end before the first of their errors is raised."""
    for error in await asyncio.gather(*requests, return_exceptions=True):
        if error is not None:
            raise error


def owned(raw: Object, kind: str) -> bool:
    """The object was made its parent's, which is of that kind."""
    return any(_is_parent(reference, kind) for reference in raw["metadata"].get("ownerReferences", []))


def _owners(present: Iterable[Object], parent: Object) -> list[Object]:
    """The ownerReferences with `parent` in the place of any other of its kind; an object has one controller at most."""
    others = [reference for reference in present if not _is_parent(reference, parent["kind"])]
    reference = {
        "apiVersion": names.API_VERSION,
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    if not any(other.get("controller") for other in others):
        reference["controller"] = True
    return [*others, reference]


def _is_parent(reference: Object, kind: str) -> bool:
    return bool(reference["kind"] == kind and reference["apiVersion"].partition("/")[0] == names.GROUP)


def labels_below(parent: Object, name: str, present: Mapping[str, str]) -> dict[str, str]:
    """The labels of an object that belongs to `parent`: its Azure name, those of what it is in, others that it has.

    name: its Kubernetes name. It is made of the Azure name, so a label that does not give it is another object's, of
    which this one is a copy.
    """
    inherited = _inherited(parent)
    given = present.get(names.LABEL_NAME, name)
    path = (inherited[names.LABEL_WORKSPACE], inherited.get(names.LABEL_EXPERIMENT, ""))
    own = name in {resource_name(given), unique_resource_name(given, *path)}
    return {**present, **inherited, names.LABEL_NAME: given if own else name}


def _inherited(parent: Object) -> dict[str, str]:
    if parent["kind"] == "Workspace":
        return {names.LABEL_WORKSPACE: azure_name(parent)}
    workspace = parent["metadata"].get("labels", {}).get(names.LABEL_WORKSPACE, parent["spec"]["workspace"])
    return {names.LABEL_WORKSPACE: workspace, names.LABEL_EXPERIMENT: azure_name(parent)}
