"""Which export a mount of a FileServer means."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from batchai.api import names
from batchai.api.fileserver import FileServer
from batchai.errors import DependencyNotReady
from batchai.plan.mounts import Export
from batchai.plan.naming import azure_name


def export_of(servers: Iterable[Mapping[str, Any]], namespace: str, identifier: str) -> Export:
    """The export of one of the FileServers of a namespace; identifier: its name, or its Azure resource id.

    An id may name the workspace, for the Azure names of file servers of two workspaces may be the same. Raises
    DependencyNotReady until the server serves.
    """
    parts = identifier.strip("/").split("/")
    workspace = next((after for word, after in pairwise(parts) if word == "workspaces"), None)
    named = [
        raw
        for raw in servers
        if parts[-1] in {raw["metadata"]["name"], azure_name(raw)}
        and workspace in {None, raw["spec"]["workspace"], raw["metadata"].get("labels", {}).get(names.LABEL_WORKSPACE)}
    ]
    waits = f"waits for FileServer '{parts[-1]}'"
    if not named:
        where = f"in workspace '{workspace}'" if workspace else f"in namespace '{namespace}'"
        raise DependencyNotReady("FileServerNotFound", f"{waits}: it does not exist {where}")
    # The names in an id are Azure's.
    raw = min(named, key=lambda raw: (azure_name(raw) if workspace else raw["metadata"]["name"]) != parts[-1])
    status = FileServer.model_validate(raw).status
    settings = status.mount_settings
    if status.provisioning_state != "succeeded" or settings is None or settings.file_server_internal_ip is None:
        raise DependencyNotReady("FileServerNotReady", f"{waits}: it is {status.provisioning_state or 'creating'}")
    return Export(settings.file_server_internal_ip, settings.mount_point or "/")
