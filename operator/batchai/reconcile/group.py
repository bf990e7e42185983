"""Workspaces, Experiments and FileServers: ownership and provisioning state."""

from batchai.api.experiment import Experiment
from batchai.api.fileserver import FileServer
from batchai.api.workspace import Workspace
from batchai.kube.client import EXPERIMENTS, FILESERVERS, WORKSPACES, Resource
from batchai.reconcile.context import Context, Key
from batchai.reconcile.writes import adopted, write_status
from batchai.status import provisioning


class WorkspaceReconciler:
    """Reconciles keys of kind Workspace. What is in it follows by ownership."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One pass; nothing to look at again."""
        raw = self._context.objects.get("Workspace", key.namespace, key.name)
        if raw is not None:
            status = provisioning.succeeded(Workspace.model_validate(raw), self._context.clock())
            await write_status(self._context, WORKSPACES, raw, status)
        return None


class MemberReconciler:
    """Reconciles keys of a kind that only has to belong to its Workspace: Experiment, FileServer."""

    def __init__(self, context: Context, kind: type[Experiment] | type[FileServer], resource: Resource) -> None:
        self._context = context
        self._kind = kind
        self._resource = resource

    async def reconcile(self, key: Key) -> float | None:
        """One pass; the Workspace's creation brings the key back."""
        context = self._context
        raw = context.objects.get(key.kind, key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return None
        workspace = context.objects.get("Workspace", key.namespace, raw["spec"]["workspace"])
        if workspace is None:
            status = provisioning.orphan(self._kind.model_validate(raw), context.clock())
        else:
            raw = await adopted(context, self._resource, raw, workspace)
            member = self._kind.model_validate(raw)
            if isinstance(member, FileServer):
                message = "this version does not run file servers yet"
                status = provisioning.refused(member, "NotSupported", message, context.clock())
            else:
                status = provisioning.succeeded(member, context.clock())
        await write_status(context, self._resource, raw, status)
        return None


def experiments(context: Context) -> MemberReconciler:
    """The reconciler of Experiments."""
    return MemberReconciler(context, Experiment, EXPERIMENTS)


def file_servers(context: Context) -> MemberReconciler:
    """The reconciler of FileServers."""
    return MemberReconciler(context, FileServer, FILESERVERS)
