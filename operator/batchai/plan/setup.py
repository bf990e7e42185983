"""The pod that makes a node ready before its first job: cluster mounts, then the setup task (reference §1.2, §6.6).

It stays until its success is noted on the node; a failed one stays as long as the node is the cluster's, and says why.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchai.api import names
from batchai.api.cluster import Cluster, SetupTask
from batchai.plan.directories import MOUNT_ROOT, check_absolute, expand
from batchai.plan.launch import launcher_variables
from batchai.plan.mounts import Mount
from batchai.plan.naming import setup_name
from batchai.plan.node_pod import (
    BUNDLE_MOUNT,
    JOB_CONTAINER,
    LAUNCH_COMMAND,
    helpers,
    launcher,
    literal,
    pinned,
    volumes,
)
from batchai.plan.ownership import owner
from batchai.plan.secrets import check_task, variables
from batchai.schedule.nodes import NodeView
from batchai.toolkits import Process

_ROOTS = {"AZ_BATCHAI_MOUNT_ROOT": MOUNT_ROOT}
_GRACE_SECONDS = 30


@dataclass(frozen=True)
class SetupImages:
    """The launcher's image, and the one that setup tasks run in."""

    launcher: str
    task: str


def required_setup(cluster: Cluster) -> str | None:
    """What nodes must have gone through, as text that changes with the cluster and its nodeSetup; None: nothing."""
    setup = cluster.spec.node_setup
    if setup is None or (setup.setup_task is None and setup.mount_volumes is None):
        return None
    return json.dumps([cluster.metadata.uid, setup.model_dump(mode="json", by_alias=True, exclude_none=True)])


def setup_fingerprint(required: str, node: NodeView) -> str:
    """What a node has when it went through it: another one after a reboot, and on another node."""
    return hashlib.sha256(f"{required}{node.boot}".encode()).hexdigest()[:12]


def path_suffix(subscription: str, workspace: str, cluster: Cluster, name: str) -> str:
    """stdOutErrPathSuffix: the part of the setup task's log path that is the cluster's own (reference §5.2)."""
    metadata = cluster.metadata
    return f"{subscription}/{metadata.namespace}/workspaces/{workspace}/clusters/{name}/{metadata.uid}"


def setup_pod(
    cluster: Cluster, node: NodeView, fingerprint: str, *, suffix: str, images: SetupImages, mounts: Sequence[Mount]
) -> dict[str, Any]:
    """The pod. mounts: those of the cluster. Raises SpecError for a task that cannot be planned."""
    setup = cluster.spec.node_setup
    task = setup.setup_task if setup else None
    directory = "/tmp" if task is None else f"{expand(task.std_out_err_path_prefix, _ROOTS).rstrip('/')}/{suffix}"  # noqa: S108
    check_absolute(directory, "spec.nodeSetup.setupTask.stdOutErrPathPrefix")
    secrets = (task.secrets if task else None) or []
    check_task(secrets)
    command = task.command_line if task else ":"
    process = Process(command, "setup task", f"stdout-{node.name}.txt", f"stderr-{node.name}.txt")
    environment = {
        **_ROOTS,
        "AZ_BATCHAI_STDOUTERR_DIR": directory,
        "AZ_BATCHAI_NUM_GPUS": str(node.gpus),
        "AZ_BATCH_NODE_ID": node.name,
        **_own(task),
        **launcher_variables(
            {
                "DIRECTORIES": directory,
                "EXECUTION_LOG": f"execution-{node.name}.log",
                "IMAGE": images.task,
                "GRACE_SECONDS": str(_GRACE_SECONDS),
            },
            mounts=mounts,
            processes=[process],
            variables=_ROOTS,
        ),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": setup_name(cluster.metadata.name, node.name, fingerprint),
            "namespace": cluster.metadata.namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_SETUP: cluster.metadata.name},
            "annotations": {names.ANNOTATION_NODE: node.name, names.ANNOTATION_PREPARED: fingerprint},
            "ownerReferences": [owner(cluster)],
        },
        "spec": {
            **pinned(node.name, cluster.spec),
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "initContainers": [launcher(images.launcher), *helpers(mounts)],
            "containers": [
                {
                    "name": JOB_CONTAINER,
                    "image": images.task,
                    "command": LAUNCH_COMMAND,
                    "env": [
                        *({"name": name, "value": literal(value)} for name, value in environment.items()),
                        *variables(secrets),
                    ],
                    "resources": {"limits": {names.GPU_RESOURCE: str(node.gpus)}} if node.gpus else {},
                    "securityContext": {"runAsUser": 0},
                    "volumeMounts": [
                        BUNDLE_MOUNT,
                        {"name": "mounts", "mountPath": MOUNT_ROOT},
                        *(mount.volume_mount() for mount in mounts),
                    ],
                }
            ],
            "volumes": volumes(mounts),
        },
    }


def _own(task: SetupTask | None) -> Mapping[str, str]:
    variables = (task.environment_variables if task else None) or []
    return {variable.name: variable.value or "" for variable in variables}
