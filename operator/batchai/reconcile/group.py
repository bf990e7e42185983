"""Workspaces and Experiments: ownership and provisioning state."""

from batchai.api.experiment import Experiment
from batchai.api.workspace import Workspace
from batchai.kube.client import EXPERIMENTS, WORKSPACES
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


class ExperimentReconciler:
    """Reconciles keys of kind Experiment, which only has to belong to its Workspace."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: Key) -> float | None:
        """One pass; the Workspace's creation brings the key back."""
        context = self._context
        raw = context.objects.get(key.kind, key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            return None
        workspace = context.objects.get("Workspace", key.namespace, raw["spec"]["workspace"])
        if workspace is None:
            status = provisioning.orphan(Experiment.model_validate(raw), context.clock())
        else:
            raw = await adopted(context, EXPERIMENTS, raw, workspace)
            status = provisioning.succeeded(Experiment.model_validate(raw), context.clock())
        await write_status(context, EXPERIMENTS, raw, status)
        return None
