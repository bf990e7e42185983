"""Resources as `az batchai` prints them: flattened camelCase, null for everything unset. Pure.

The shapes are those of the service's last API version (Batch AI reference §1, §8); what only Kubernetes
knows (Secrets, selectors) is left out.
"""

from datetime import UTC, datetime
from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster, NodeStateCounts
from batchai.api.durations import format_duration, parse_duration
from batchai.api.fileserver import FileServer
from batchai.api.job import Job
from batchai.api.workspace import Workspace
from batchai.cli.kube import Object
from batchai.plan.naming import azure_name
from batchai.storage.directory import Entry

_TOOLKITS_WITH_PROCESSES = (
    "caffeSettings",
    "chainerSettings",
    "cntkSettings",
    "customMpiSettings",
    "horovodSettings",
    "pyTorchSettings",
)
_JOB_FIELDS = (
    "caffe2Settings",
    "caffeSettings",
    "chainerSettings",
    "cntkSettings",
    "containerSettings",
    "customMpiSettings",
    "customToolkitSettings",
    "environmentVariables",
    "horovodSettings",
    "inputDirectories",
    "jobPreparation",
    "mountVolumes",
    "nodeCount",
    "outputDirectories",
    "pyTorchSettings",
    "schedulingPriority",
    "secrets",
    "stdOutErrPathPrefix",
    "tensorFlowSettings",
)
_JOB_STATUS = ("executionStateTransitionTime", "jobOutputDirectoryPathSegment")
_CLUSTER_FIELDS = (
    "nodeSetup",
    "scaleSettings",
    "subnet",
    "userAccountSettings",
    "virtualMachineConfiguration",
    "vmPriority",
)
_CLUSTER_STATUS = ("allocationState", "allocationStateTransitionTime", "errors")
_KUBERNETES_ONLY = frozenset(
    {"idleTimeoutSeconds", "persistentVolumeClaims", "readOnly", "secretRef", "valueFrom", "workloadIdentity"}
)
_CREDENTIALS = {"accountKey": None, "accountKeySecretReference": None}


def workspace(item: Object, subscription: str) -> Object:
    """A Workspace."""
    spec = Workspace.model_validate(item).spec
    return {
        **_common(item, subscription, f"workspaces/{azure_name(item)}"),
        "location": spec.location or "",
        "tags": spec.tags or None,
    }


def experiment(item: Object, subscription: str) -> Object:
    """An Experiment."""
    return _common(item, subscription, f"workspaces/{_workspace(item)}/experiments/{azure_name(item)}")


def cluster(item: Object, subscription: str) -> Object:
    """A Cluster."""
    model = Cluster.model_validate(item)
    spec, status = (part.model_dump(by_alias=True) for part in (model.spec, model.status))
    if (spec["nodeSetup"] or {}).get("setupTask"):
        where = model.status.node_setup
        suffix = where.setup_task.std_out_err_path_suffix if where else None
        spec["nodeSetup"]["setupTask"]["stdOutErrPathSuffix"] = suffix
    printed: Object = _printed(
        {
            **_common(item, subscription, f"workspaces/{_workspace(item)}/clusters/{azure_name(item)}"),
            **{name: spec[name] for name in _CLUSTER_FIELDS},
            **{name: status[name] or None for name in _CLUSTER_STATUS},
            "currentNodeCount": status["currentNodeCount"] or 0,
            "nodeStateCounts": (model.status.node_state_counts or NodeStateCounts()).model_dump(by_alias=True),
            "vmSize": spec["vmSize"].upper(),
        }
    )
    return printed


def job(item: Object, subscription: str, its_cluster: Object | None) -> Object:
    """A Job; `its_cluster` gives the cluster's Azure names, None if it is gone."""
    model = Job.model_validate(item)
    spec, status = (part.model_dump(by_alias=True) for part in (model.spec, model.status))
    above = f"workspaces/{_workspace(item)}/experiments/{label(item, names.LABEL_EXPERIMENT)}"
    group = item["metadata"]["namespace"]
    cluster_path = f"workspaces/{_workspace(item)}/clusters/{spec['cluster']}"
    if its_cluster is not None:
        cluster_path = f"workspaces/{_workspace(its_cluster)}/clusters/{azure_name(its_cluster)}"
    fields = {name: spec[name] for name in _JOB_FIELDS}
    for toolkit in _TOOLKITS_WITH_PROCESSES:
        if fields[toolkit] is not None:
            fields[toolkit]["processCount"] = fields[toolkit]["processCount"] or spec["nodeCount"]
    if fields["cntkSettings"] is not None:
        # Given or not, in whatever case: the rules of the CRD have it follow from the script.
        python = fields["cntkSettings"]["pythonScriptFilePath"] is not None
        fields["cntkSettings"]["languageType"] = "Python" if python else "BrainScript"
    limit = model.spec.constraints.max_wall_clock_time
    printed: Object = _printed(
        {
            **_common(item, subscription, f"{above}/jobs/{azure_name(item)}"),
            **fields,
            **{name: status[name] for name in _JOB_STATUS},
            "executionInfo": _nothing_as_null(status["executionInfo"]),
            "cluster": {"id": _id(subscription, group, cluster_path), "resourceGroup": group},
            "constraints": {"maxWallClockTime": format_duration(parse_duration(limit))},
            "executionState": model.status.execution_state or "queued",
            "toolType": model.status.tool_type or model.spec.tool_type,
        }
    )
    return printed


def file_server(item: Object, subscription: str) -> Object:
    """A FileServer. az wrote abbreviations as words: `diskSizeInGb`, `fileServerPublicIp`."""
    model = FileServer.model_validate(item)
    spec, status = (part.model_dump(by_alias=True) for part in (model.spec, model.status))
    disks, access, mount = spec["dataDisks"], spec["sshConfiguration"], status["mountSettings"]
    printed: Object = _printed(
        {
            **_common(item, subscription, f"workspaces/{_workspace(item)}/fileservers/{azure_name(item)}"),
            "dataDisks": _renamed(disks, diskSizeInGB="diskSizeInGb"),
            "mountSettings": mount
            and _renamed(mount, fileServerPublicIP="fileServerPublicIp", fileServerInternalIP="fileServerInternalIp"),
            "sshConfiguration": access and _renamed(access, publicIPsToAllow="publicIpsToAllow"),
            "subnet": spec["subnet"],
            "vmSize": spec["vmSize"].upper(),
        }
    )
    return printed


def node(name: str, address: str | None) -> Object:
    """A node of a cluster or a job. There is no ssh to it, and no need of it: `node exec`."""
    return {"ipAddress": address, "nodeId": name, "port": None}


def usage(name: str, value: int, limit: int | None) -> Object:
    """One entry of `list-usages`."""
    return {
        "currentValue": value,
        "limit": limit,
        "name": {"localizedValue": name, "value": name},
        "unit": "Count",
    }


def file(entry: Entry, url: str | None) -> Object:
    """An entry of an output directory."""
    return {
        "contentLength": entry.size,
        "downloadUrl": url,
        "fileType": "directory" if entry.is_directory else "file",
        "isDirectory": entry.is_directory,
        "lastModified": _printed(entry.modified),
        "name": entry.name,
    }


def id_parts(resource_id: str) -> dict[str, str]:
    """Collection (as it is written) → name, of an id; empty for what is none."""
    parts = resource_id.strip("/").split("/")
    found = dict(zip(parts[::2], parts[1::2], strict=False))
    return found if len(parts) % 2 == 0 and all(parts) else {}


def label(item: Object, name: str) -> str:
    """A label's value, empty if it is not there."""
    return str(item["metadata"].get("labels", {}).get(name, ""))


def id_part(resource_id: str, collection: str) -> str:
    """The name after a collection (`workspaces`) in an id, empty if it has none."""
    parts = resource_id.split("/")
    places = [index for index, part in enumerate(parts[:-1]) if part.lower() == collection.lower()]
    return parts[places[0] + 1] if places else ""


def _common(item: Object, subscription: str, path: str) -> Object:
    """What every resource has; `path`: its place in the resource group, collections and names in turn."""
    status = item.get("status", {})
    deleting = "deletionTimestamp" in item["metadata"]
    return {
        "creationTime": _time(item["metadata"]["creationTimestamp"]),
        "id": _id(subscription, item["metadata"]["namespace"], path),
        "name": azure_name(item),
        "provisioningState": "deleting" if deleting else status.get("provisioningState"),
        "provisioningStateTransitionTime": _time(status.get("provisioningStateTransitionTime")),
        "resourceGroup": item["metadata"]["namespace"],
        "type": f"Microsoft.BatchAI/{'/'.join(path.split('/')[::2])}",
    }


def _id(subscription: str, group: str, path: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.BatchAI/{path}"


def _workspace(item: Object) -> str:
    return label(item, names.LABEL_WORKSPACE)


def _renamed(value: Object, **names_: str) -> Object:
    return {names_.get(name, name): item for name, item in value.items()}


def _nothing_as_null(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """The object with null for what is empty in it, null if nothing is left."""
    given = {name: item or None if isinstance(item, list) else item for name, item in (value or {}).items()}
    return given if any(item is not None for item in given.values()) else None


def _time(text: str | None) -> str | None:
    """A Kubernetes time as az prints times: `2018-06-14T22:22:57.543000+00:00`."""
    return datetime.fromisoformat(text).isoformat() if text else None


def _printed(value: Any) -> Any:
    """The value as az prints it: times as text, no references to Secrets."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat()
        case {"relativeMountPath": _, "credentials": None}:
            # The service showed that a mount has credentials, though never which.
            return {**_printed({**value, "credentials": _CREDENTIALS})}
        case dict():
            return {name: _printed(item) for name, item in value.items() if name not in _KUBERNETES_ONLY}
        case list() | tuple():
            return [_printed(item) for item in value]
        case _:
            return value
