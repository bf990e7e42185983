"""What every pod has that stands for a Batch AI node: pinned to its node, with the launcher as its command."""

from collections.abc import Sequence
from typing import Any

from batchai.api import names
from batchai.api.cluster import ClusterSpec
from batchai.plan.mount_commands import NODE_DIRECTORY, MountCommand
from batchai.plan.mounts import Mount
from batchai.schedule.nodes import SPOT_TAINTS
from batchai.toolkits.base import LAUNCHER_PATH

JOB_CONTAINER = "job"
LAUNCHER_CONTAINER = "launcher"
LAUNCH_COMMAND = [
    f"{LAUNCHER_PATH}/tini",
    "-g",
    "--",
    f"{LAUNCHER_PATH}/busybox",
    "sh",
    f"{LAUNCHER_PATH}/launch",
]
BUNDLE_MOUNT = {"name": "launcher", "mountPath": LAUNCHER_PATH}
USER = 1000
"""Who a job is when it may not be root; any other than root does."""
_NODE_MOUNTS = {"name": "node-mounts", "hostPath": {"path": NODE_DIRECTORY, "type": "DirectoryOrCreate"}}
_MOUNT_SECONDS = 25
"""How long a mount command may take, so that a job whose mount hangs fails within a minute."""
_UNREACHABLE_SECONDS = 30
"""How long a pod stays on a node that does not answer; Kubernetes' default of 300 s wastes a job's time."""


def pinned(node: str, cluster: ClusterSpec) -> dict[str, Any]:
    """The fields of a pod's spec that bring it to its node and keep it there.

    The scheduler still checks resources and taints, but looks at one node only.
    """
    return {
        **scheduled(cluster),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
                    ]
                }
            }
        },
        "tolerations": [
            *user_tolerations(cluster),
            {"key": names.TAINT_CLUSTER, "operator": "Exists", "effect": "NoSchedule"},
            *(
                {
                    "key": f"node.kubernetes.io/{state}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _UNREACHABLE_SECONDS,
                }
                for state in ("not-ready", "unreachable")
            ),
        ],
    }


def scheduled(cluster: ClusterSpec) -> dict[str, Any]:
    """The field of a pod's spec that names its scheduler, if the cluster does."""
    return {"schedulerName": cluster.scheduler_name} if cluster.scheduler_name else {}


def user_tolerations(cluster: ClusterSpec) -> list[dict[str, Any]]:
    """The tolerations of the cluster, and those that its size and priority stand for."""
    spot = [{"key": key, "operator": "Exists"} for key in SPOT_TAINTS] if cluster.vm_priority == "lowpriority" else []
    own = [toleration.model_dump(by_alias=True, exclude_none=True) for toleration in cluster.tolerations or []]
    return [*own, {"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}, *spot]


def volumes(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """The pod's volumes: the launcher's bundle, the root of the cluster's mounts, and the mounts."""
    return [
        *([_NODE_MOUNTS] if any(mount.command for mount in mounts) else []),
        {"name": "launcher", "emptyDir": {}},
        {"name": "mounts", "emptyDir": {}},
        *{mount.volume: mount.pod_volume() for mount in mounts}.values(),
    ]


def launcher(
    image: str, security: dict[str, Any] | None = None, fetched: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The init container that copies the bundle into the pod.

    fetched: volumes whose driver must be called, though no process reads them.
    """
    return {
        "name": LAUNCHER_CONTAINER,
        "image": image,
        "command": ["/launcher/install", LAUNCHER_PATH],
        "volumeMounts": [
            BUNDLE_MOUNT,
            *({"name": volume["name"], "mountPath": f"/{volume['name']}", "readOnly": True} for volume in fetched),
        ],
        "securityContext": security or {},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }


def helpers(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """The containers that run mount commands: each is there when its file system is, and until the job has ended."""
    return [_helper(mount.volume, mount.command) for mount in mounts if mount.command is not None]


def _helper(name: str, mount: MountCommand) -> dict[str, Any]:
    busybox = f"{LAUNCHER_PATH}/busybox"
    return {
        "name": name,
        "image": mount.image,
        "restartPolicy": "Always",
        "command": [f"{LAUNCHER_PATH}/tini", "--", busybox, "sh", f"{LAUNCHER_PATH}/mount", mount.directory],
        "env": [{"name": "BATCHAI_MOUNT_COMMAND", "value": literal(mount.command)}],
        "securityContext": {"privileged": True, "runAsUser": 0},
        "startupProbe": {
            "exec": {"command": [busybox, "grep", "-qF", f" {mount.directory} ", "/proc/mounts"]},
            "periodSeconds": 1,
            "failureThreshold": _MOUNT_SECONDS,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            BUNDLE_MOUNT,
            {"name": _NODE_MOUNTS["name"], "mountPath": NODE_DIRECTORY, "mountPropagation": "Bidirectional"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }


def literal(value: str) -> str:
    """Kubernetes expands $(NAME) in a container's environment; a doubled dollar stands for itself."""
    return value.replace("$", "$$")
