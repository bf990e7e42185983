"""What mounts need of the Kubernetes cluster: file servers that serve, and static volumes that are made and swept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from batchai.errors import KubeApiError
from batchai.kube.client import CLAIMS, VOLUMES, Resource
from batchai.kube.store import Object
from batchai.plan.exports import export_of
from batchai.plan.mounts import Export, Mount, Surroundings
from batchai.plan.static_volumes import VolumeOwner, belongs_to, static_volumes
from batchai.reconcile.context import Context
from batchai.reconcile.slim import claim_of
from batchai.reconcile.writes import gone_is_fine, together


def surroundings(context: Context, namespace: str) -> Surroundings:
    """What mounts in a namespace are planned with."""
    settings = context.settings
    return Surroundings(
        settings.endpoints,
        lambda identifier: file_server(context, namespace, identifier),
        command_image=settings.mount_command_image_of(namespace),
    )


def file_server(context: Context, namespace: str, identifier: str) -> Export:
    """The export of a FileServer of the namespace, as `export_of` finds it. Raises DependencyNotReady as it does."""
    return export_of(context.objects.list("FileServer", namespace), namespace, identifier)


class StaticVolumes:
    """Makes the PersistentVolumes behind mounts that cannot be inline, and removes them when nobody needs them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def make(self, mounts: Iterable[Mount], owner: VolumeOwner) -> None:
        """Everything of `static_volumes`; what is there already was made by an earlier pass."""
        for pair in static_volumes(mounts, owner):
            await self._create(VOLUMES, pair.volume)
            await self._create(CLAIMS, pair.claim, owner.namespace)

    async def sweep(self, label: str, namespace: str, name: str, uid: str | None) -> None:
        """Deletes the volumes of the owner of this name, but for those of the one with this UID.

        A volume in use goes when its pods have ended: Kubernetes protects it until then.
        """
        known = self._context.volumes.by_index(label, f"{namespace}/{name}")
        await together(self._delete(volume) for volume in known if uid is None or not belongs_to(volume, uid))

    async def _create(self, resource: Resource, body: Mapping[str, Any], namespace: str = "") -> None:
        try:
            await self._context.api.create(resource, body, namespace=namespace)
        except KubeApiError as error:
            # The name has the owner's UID: whose else could it be.
            if not error.already_exists:
                raise

    async def _delete(self, volume: Object) -> None:
        metadata, claim = volume["metadata"], volume["spec"]["claimRef"]
        api = self._context.api
        await gone_is_fine(api.delete(CLAIMS, claim["name"], namespace=claim["namespace"], uid=claim.get("uid")))
        if "deletionTimestamp" not in metadata:
            await gone_is_fine(api.delete(VOLUMES, metadata["name"], uid=metadata["uid"]))


def volume_index(label: str) -> Callable[[Object], str | None]:
    """The owner of a static volume, if it is of the kind that the label stands for: `<namespace>/<name>`."""

    def owner(volume: Object) -> str | None:
        name, namespace = volume["metadata"].get("labels", {}).get(label), claim_of(volume).get("namespace")
        return f"{namespace}/{name}" if name and namespace else None

    return owner
