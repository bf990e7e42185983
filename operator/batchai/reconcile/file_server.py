"""FileServers: one NFS server each, by a StatefulSet, a Service and perhaps a load balancer."""

from typing import Any

from batchai.api import names
from batchai.api.fileserver import FileServer
from batchai.errors import ConflictError, KubeApiError, SpecError
from batchai.kube.client import CLAIMS, FILESERVERS, SERVICES, STATEFULSETS, Resource
from batchai.kube.store import Object
from batchai.plan import file_server as plan
from batchai.reconcile.context import Context, Key
from batchai.reconcile.writes import adopted, write_status
from batchai.status import file_server as observe
from batchai.status import provisioning

_LOOK_AGAIN_SECONDS = 10.0
"""Services are not watched: a load balancer's address, and the end of a former server, are asked for."""
# The rest of a StatefulSet's spec never changes.
_MUTABLE = ("replicas", "template", "persistentVolumeClaimRetentionPolicy")


class FileServerReconciler:
    """Reconciles keys of kind FileServer; its pod's changes and its Workspace's bring the key back."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One pass. Raises KubeApiError."""
        context = self._context
        raw = context.objects.get(key.kind, key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return None
        workspace = context.objects.get("Workspace", key.namespace, raw["spec"]["workspace"])
        if workspace is None:
            orphan = provisioning.orphan(FileServer.model_validate(raw), context.clock())
            await write_status(context, FILESERVERS, raw, orphan)
            return None
        raw = await adopted(context, FILESERVERS, raw, workspace)
        server = FileServer.model_validate(raw)
        again = None
        try:
            observed = await self._ensure(server)
        except SpecError as error:
            status = provisioning.refused(server, "InvalidFileServer", str(error), context.clock())
        except ConflictError as error:
            again = _LOOK_AGAIN_SECONDS
            status = observe.unserved(server, "NameTaken", str(error), context.clock())
        except KubeApiError as error:
            if not error.refused:
                raise
            again = _LOOK_AGAIN_SECONDS
            message = f"the Kubernetes API refused what it needs: {error}"
            status = observe.unserved(server, "Refused", message, context.clock())
        else:
            status = observe.status(server, observed, context.clock())
            if observed.public_ip is None and plan.public_service(server) is not None:
                again = _LOOK_AGAIN_SECONDS
        await write_status(context, FILESERVERS, raw, status)
        return again

    async def _ensure(self, server: FileServer) -> observe.Observed:
        """Makes what the server needs, or brings it up to date; what there is then."""
        settings = self._context.settings
        public = plan.public_service(server)
        storage_class = settings.file_server_storage_classes.get(server.spec.data_disks.storage_account_type)
        service = await self._applied(SERVICES, plan.service(server))
        await self._fit_claim(server)
        await self._applied(
            STATEFULSETS, plan.stateful_set(server, settings.file_server_image, storage_class), mutable=_MUTABLE
        )
        balancer, refused = None, None
        try:
            balancer = await self._applied(SERVICES, public) if public else None
        except KubeApiError as error:
            if not error.refused:
                raise
            refused = str(error)
        key = f"{server.metadata.namespace}/{server.metadata.name}"
        pods = self._context.pods.by_index("file_server", key)
        return observe.Observed(
            internal_ip=service["spec"].get("clusterIP"),
            public_ip=_ingress(balancer),
            pod=min(pods, key=lambda pod: "deletionTimestamp" in pod["metadata"], default=None),
            refused=refused,
        )

    async def _fit_claim(self, server: FileServer) -> None:
        """Lets a claim that is there already, as a former FileServer's, grow to what this one asks for.

        Raises ConflictError if it holds the data of another one whose Kubernetes name is the same.
        """
        api, name = self._context.api, plan.claim_name(server.metadata.name)
        try:
            claim = await api.get(CLAIMS, name, namespace=server.metadata.namespace)
        except KubeApiError as error:
            if not error.not_found:
                raise
            return
        whose, labels = plan.whose_data(server), claim["metadata"].get("labels", {})
        if any(labels.get(label, wanted) != wanted for label, wanted in whose.items()):
            former = f"'{labels.get(names.LABEL_NAME)}' of workspace '{labels.get(names.LABEL_WORKSPACE)}'"
            raise ConflictError(
                f"PersistentVolumeClaim {name} holds the data of the former file server {former}: "
                "delete it, or give this one another name"
            )
        has, wanted = plan.in_gb(claim["spec"]["resources"]["requests"]["storage"]), plan.size_in_gb(server)
        if has is not None and has < wanted:
            if claim.get("status", {}).get("phase") != "Bound":
                raise ConflictError(f"PersistentVolumeClaim {name}, left by a former one, asks for {has} Gi: delete it")
            spec = {"resources": {"requests": {"storage": f"{wanted}Gi"}}}
            await api.patch(CLAIMS, name, {"spec": spec}, namespace=server.metadata.namespace)

    async def _applied(
        self, resource: Resource, body: dict[str, Any], mutable: tuple[str, ...] | None = None
    ) -> Object:
        """The object as the plan wants it. mutable: the fields of its spec that may change, None for all.

        Raises ConflictError if it belongs to somebody else, such as a former FileServer that is still being deleted.
        """
        api, metadata = self._context.api, body["metadata"]
        try:
            present = await api.get(resource, metadata["name"], namespace=metadata["namespace"])
        except KubeApiError as error:
            if not error.not_found:
                raise
            return await api.create(resource, body, namespace=metadata["namespace"])
        owners = {owner["uid"] for owner in present["metadata"].get("ownerReferences", [])}
        if metadata["ownerReferences"][0]["uid"] not in owners or "deletionTimestamp" in present["metadata"]:
            raise ConflictError(f"{body['kind']} {metadata['name']} exists and belongs to somebody else")
        plans = [item["metadata"].get("annotations", {}).get(names.ANNOTATION_PLAN) for item in (body, present)]
        if plans[0] == plans[1]:
            return present
        patch = {
            "metadata": {"uid": present["metadata"]["uid"], "annotations": metadata["annotations"]},
            "spec": {name: value for name, value in body["spec"].items() if mutable is None or name in mutable},
        }
        return await api.patch(resource, metadata["name"], patch, namespace=metadata["namespace"])


def _ingress(service: Object | None) -> str | None:
    """The first address that a load balancer was given."""
    found = (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    address: str | None = found[0].get("ip") or found[0].get("hostname")
    return address
