"""What a job's pod tells: why it cannot start, and how it ended (Batch AI reference §1.5).

The launcher's termination message has `phase=<phase> exit=<code>` and where that was as its first line, then a few
lines of the failing process's stderr.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batchai.plan.mounts import CLAIM_VOLUME, COMMAND_VOLUME
from batchai.plan.node_pod import JOB_CONTAINER, LAUNCHER_CONTAINER
from batchai.status.mounts import mount_problem

PodObject = Mapping[str, Any]

_CANNOT_START = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "RunContainerError",
    }
)
_KILLED = frozenset({137, 143})
_UNSEEN = frozenset({"Unknown", "ContainerStatusUnknown"})
"""What containerd and the kubelet say of a container that is gone and whose end they did not see."""
_UNMOUNTED = re.compile(r"Unable to attach or mount volumes: unmounted volumes=\[([^]]*)\]")
_FIRST_LINE = re.compile(
    r"phase=(?P<phase>\w+) exit=(?P<exit>-?\d+)(?P<oom> oom=1)?( node=(?P<node>\S*))?( process=(?P<process>.+))?"
)
_RANK = re.compile(r"^batchai: (?P<process>rank \S+) on node (?P<node>\S+) ended with exit code \d+", re.MULTILINE)
"""What an MPI process says on stderr when it fails: mpirun itself knows less."""
_OUT_OF_MEMORY = "OOMKilled: the node's memory or the container's limit was exhausted"
_PHASE_CODES = {
    "directories": ("FailedCreatingDirectories", "The job's directories could not be created"),
    "preparation": ("JobPreparationFailed", "Job preparation failed with non-zero exit code"),
}


@dataclass(frozen=True)
class Problem:
    """A failure in Batch AI's terms: code, message and details (name → value)."""

    code: str
    message: str
    details: Mapping[str, str]


POD_DELETED = "PodDeleted"
OUT_OF_TIME = Problem("MaxWallClockTimeExceeded", "The job ran longer than constraints.maxWallClockTime", {})


@dataclass(frozen=True)
class Outcome:
    """How a pod ended. problem is None for exit code 0.

    infrastructure: the node or the cluster ended the pod, not its own processes; the job may run again.
    """

    exit_code: int | None
    problem: Problem | None
    infrastructure: bool = False


def started(pod: PodObject) -> bool:
    """The job's container runs or has run."""
    state = _container_state(pod, JOB_CONTAINER)
    return "running" in state or "terminated" in state


def delay(pod: PodObject, mount_failure: str | None) -> tuple[str, str] | None:
    """Why the pod does not start yet, though nothing is wrong with the job: reason and the cluster's own words."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return "Unschedulable", condition.get("message", condition.get("reason", ""))
    if mount_failure is None or _mounted(pod):
        return None
    if _driver_missing(mount_failure):
        return "StorageDriverMissing", mount_failure
    return ("VolumeNotAttached", mount_failure) if _not_attached(mount_failure) else None


def start_problem(pod: PodObject, mount_failure: str | None) -> Problem | None:
    """What keeps the job's container from starting now, with the runtime's or the driver's own words.

    mount_failure: the message of the kubelet's last FailedMount event for the pod.
    """
    if started(pod):
        return None
    for statuses in ("initContainerStatuses", "containerStatuses"):
        for container in pod.get("status", {}).get(statuses, []):
            if (failed := _command_failed(container)) is not None:
                return failed
            waiting = container.get("state", {}).get("waiting", {})
            if waiting.get("reason") in _CANNOT_START:
                text = waiting.get("message", "")
                return Problem(
                    "FailedStartingContainer",
                    f"The container could not be started: {waiting['reason']}",
                    {"imageName": container.get("image", ""), "Info": text},
                )
    if mount_failure is not None and not _mounted(pod) and delay(pod, mount_failure) is None:
        code, text = mount_problem(mount_failure)
        return Problem(code, text, {"Info": mount_failure})
    return None


def _command_failed(container: Mapping[str, Any]) -> Problem | None:
    """Why a container that runs a mount command had to be started again, or will be."""
    if not container["name"].startswith(f"{COMMAND_VOLUME}-") or container.get("started"):
        return None
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if ended is None:
        return None
    text = "The mount command did not end" if ended["exitCode"] in {0, *_KILLED} else "The mount command failed"
    return Problem("MountError", text, {"Info": ended.get("message", "").strip()})


def outcome(pod: PodObject) -> Outcome | None:
    """How the pod ended, or None while it has not."""
    status = pod.get("status", {})
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    if status.get("reason") == "DeadlineExceeded":
        return Outcome(None, OUT_OF_TIME)
    if (lost := disruption(pod)) is not None:
        return Outcome(None, lost, infrastructure=True)
    if (init := _init_failure(pod)) is not None:
        return init
    terminated = _container_state(pod, JOB_CONTAINER).get("terminated")
    if terminated is None:
        text = "The pod ended before its container started"
        return Outcome(None, Problem("NodeLost", text, {"Info": status.get("message", "")}), infrastructure=True)
    return Outcome(0, None) if terminated["exitCode"] == 0 else _ended(terminated)


def _mounted(pod: PodObject) -> bool:
    """The sandbox or the first container started, so every volume is there: an older event of a mount is history."""
    if any(
        condition["type"] == "PodReadyToStartContainers" and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions", [])
    ):
        return True
    return any(
        container.get("state", {}).keys() & {"running", "terminated"}
        for container in pod.get("status", {}).get("initContainerStatuses", [])
    )


def _driver_missing(mount_failure: str) -> bool:
    """A CSI driver has not registered with the kubelet: a new node needs a while for that."""
    return "not found in the list of registered CSI drivers" in mount_failure


def _not_attached(mount_failure: str) -> bool:
    """The kubelet waits for disks of claims: another node may have one while a pod runs there, or while it is dead."""
    waits = _UNMOUNTED.search(mount_failure)
    volumes = waits[1].split() if waits else []
    return bool(volumes) and all(name.startswith(f"{CLAIM_VOLUME}-") for name in volumes)


def finished_at(pod: PodObject) -> datetime | None:
    """When the job's container ended, in whole seconds."""
    text = (_container_state(pod, JOB_CONTAINER).get("terminated") or {}).get("finishedAt")
    return datetime.fromisoformat(text) if text else None


def unreachable(pod: PodObject) -> bool:
    """Kubernetes gave the pod up, and its kubelet has not confirmed the end."""
    return "deletionTimestamp" in pod["metadata"] and outcome(pod) is None


def _ended(terminated: Mapping[str, Any]) -> Outcome:
    """How a container ended that nobody stopped, in the words of its launcher if it had any."""
    if (lost := _unseen(terminated)) is not None:
        return lost
    first, _, rest = terminated.get("message", "").partition("\n")
    match = _FIRST_LINE.match(first)
    found: Mapping[str, str | None] = match.groupdict() if match else {}
    rank = _RANK.search(rest) if found.get("process") == "mpirun" else None
    details = {
        "Process": (rank or found)["process"] if found else None,
        "Node": (rank or found)["node"] if found else None,
        "Reason": _OUT_OF_MEMORY if terminated.get("reason") == "OOMKilled" or found.get("oom") else None,
        "Info": rest.strip(),
    }
    kept = {name: value for name, value in details.items() if value}
    if found.get("phase") == "peers":
        return Outcome(None, Problem("NodesUnreachable", "The job's nodes did not find each other", kept), True)
    if found.get("phase") == "mounts":
        return Outcome(None, Problem("MountLost", "A file system of the job stopped working", kept), True)
    code, message = _PHASE_CODES.get(found.get("phase") or "", ("JobFailed", "Job failed with non-zero exit code"))
    return Outcome(int(found.get("exit") or terminated["exitCode"]), Problem(code, message, kept))


def disruption(pod: PodObject) -> Problem | None:
    """What ended, or is ending, the pod that is neither its job nor its own processes."""
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True" and _disrupted(pod, condition):
            return Problem("NodePreempted", condition.get("message") or condition.get("reason", ""), {})
    if status.get("reason") in {
        "Evicted",
        "NodeLost",
        "NodeShutdown",
        "Terminated",
        "UnexpectedAdmissionError",
    }:
        return Problem("NodeLost", status.get("message") or status["reason"], {})
    if _stopped_by_deletion(pod):
        return Problem(POD_DELETED, f"Pod {pod['metadata']['name']} was deleted while the job ran", {})
    return None


def _disrupted(pod: PodObject, condition: Mapping[str, Any]) -> bool:
    """A drain evicts pods that have ended, too."""
    asked = condition.get("lastTransitionTime")
    return asked is None or _stopped(pod, datetime.fromisoformat(asked))


def _stopped_by_deletion(pod: PodObject) -> bool:
    metadata = pod["metadata"]
    if "deletionTimestamp" not in metadata:
        return False
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds", 0))
    return _stopped(pod, datetime.fromisoformat(metadata["deletionTimestamp"]) - grace)


def _stopped(pod: PodObject, asked: datetime) -> bool:
    """The container still ran when somebody asked for the pod's end; a result that was there before counts."""
    terminated = _container_state(pod, JOB_CONTAINER).get("terminated") or {}
    if terminated.get("reason") in _UNSEEN:
        return False  # whatever was asked, its node's crash was the end
    finished = finished_at(pod)
    # Both have whole seconds: within the same one, the exit code of a signal tells.
    return finished is None or finished > asked or (finished == asked and terminated["exitCode"] in _KILLED)


def _init_failure(pod: PodObject) -> Outcome | None:
    for container in pod.get("status", {}).get("initContainerStatuses", []):
        terminated = container.get("state", {}).get("terminated")
        if container["name"] == LAUNCHER_CONTAINER and terminated is not None and terminated["exitCode"] != 0:
            text = f"The launcher could not be installed: exit code {terminated['exitCode']}"
            info = {"Info": terminated.get("message", "")}
            return _unseen(terminated) or Outcome(None, Problem("FailedStartingContainer", text, info))
    return None


def _unseen(terminated: Mapping[str, Any]) -> Outcome | None:
    """The container went with its node, which crashed and came back; its exit code (255, 137) is made up."""
    if terminated.get("reason") not in _UNSEEN:
        return None
    text = "The node restarted, or lost the container in another way"
    return Outcome(None, Problem("NodeLost", text, {"Info": terminated.get("message", "")}), infrastructure=True)


def _container_state(pod: PodObject, name: str) -> Mapping[str, Any]:
    for container in pod.get("status", {}).get("containerStatuses", []):
        if container["name"] == name:
            state: Mapping[str, Any] = container.get("state", {})
            return state
    return {}
