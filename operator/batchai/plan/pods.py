"""The pods of one attempt of a job: one per node, pinned to it, with the launcher as their command (design §2).

Builders only: what is in a pod follows from the arguments, nothing is read from anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchai import toolkits
from batchai.api import names
from batchai.api.base import Model
from batchai.api.cluster import ClusterSpec
from batchai.api.durations import parse_duration
from batchai.api.job import Job, JobSpec
from batchai.plan import secrets
from batchai.plan.directories import MOUNT_ROOT, JobIdentity, expand, output_paths, stdouterr_path
from batchai.plan.environment import host_file, job_environment
from batchai.plan.mounts import Mount, job_mounts
from batchai.plan.naming import pod_name
from batchai.toolkits import Launch, Process

JOB_CONTAINER = "job"
LAUNCHER_CONTAINER = "launcher"
LAUNCHER_PATH = "/opt/batchai"
_LAUNCH = "BATCHAI_LAUNCH_"
_UNREACHABLE_SECONDS = 30
"""How long a pod stays on a node that does not answer; Kubernetes' default of 300 s wastes a job's time."""
_STOP_MARGIN_SECONDS = 10
"""What the launcher needs after its own grace period to drain the logs."""


@dataclass(frozen=True)
class Images:
    """The launcher's image, and the image of jobs without containerSettings by settings field."""

    launcher: str
    defaults: Mapping[str, str]


@dataclass(frozen=True)
class Attempt:
    """One try to run a job: its number from 1, and its nodes, master first, with the GPUs of each."""

    number: int
    nodes: tuple[str, ...]
    gpus: int


def job_image(spec: JobSpec, images: Images) -> str:
    """The image that the job runs in. Without containerSettings the service ran on its VM image (reference §6.2)."""
    if spec.container_settings is not None:
        return spec.container_settings.image_source_registry.image
    name, _ = spec.toolkit()
    return images.defaults.get(name) or images.defaults["*"]


def check(job: Job, identity: JobIdentity) -> None:
    """Raises SpecError for anything in the job that pods cannot be planned for."""
    toolkits.launch(job.spec, [job.metadata.name] * job.spec.node_count)
    job_mounts(job.spec.mount_volumes, identity.mount_root)
    secrets.check(job.spec)


def job_pods(
    job: Job, identity: JobIdentity, attempt: Attempt, *, cluster: ClusterSpec, images: Images
) -> list[dict[str, Any]]:
    """The pods of an attempt, master first. Raises SpecError as `check` does."""
    mounts = job_mounts(job.spec.mount_volumes, identity.mount_root)
    hosts = [pod_name(job.metadata.name, attempt.number, index) for index in range(len(attempt.nodes))]
    launch = toolkits.launch(job.spec, hosts)
    variables = job_environment(job.spec, identity, hosts=hosts, gpus=attempt.gpus)
    common = {
        **variables,
        **launch.environment,
        **_launch_environment(job.spec, identity, launch, mounts, hosts, job_image(job.spec, images)),
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": _metadata(job, attempt, index),
            "spec": _pod_spec(
                job,
                node=node,
                gpus=attempt.gpus,
                cluster=cluster,
                mounts=mounts,
                temp=identity.temp,
                images=images,
                environment={**common, "AZ_BATCH_NODE_ID": node, **_processes(launch.nodes[index], variables)},
            ),
        }
        for index, node in enumerate(attempt.nodes)
    ]


def _metadata(job: Job, attempt: Attempt, index: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": pod_name(job.metadata.name, attempt.number, index),
        "namespace": job.metadata.namespace,
        "labels": {
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
            names.LABEL_JOB: job.metadata.name,
            names.LABEL_JOB_UID: job.metadata.uid,
            names.LABEL_CLUSTER: job.spec.cluster,
            names.LABEL_ATTEMPT: str(attempt.number),
            names.LABEL_INDEX: str(index),
        },
        "annotations": {
            names.ANNOTATION_NODE: attempt.nodes[index],
            # Autoscalers must not take a node from under a running job.
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
            "karpenter.sh/do-not-disrupt": "true",
        },
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": "Job",
                "name": job.metadata.name,
                "uid": job.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if index == 0:
        metadata["finalizers"] = [names.FINALIZER_RESULT]
    return metadata


def _pod_spec(
    job: Job,
    *,
    node: str,
    gpus: int,
    cluster: ClusterSpec,
    mounts: Sequence[Mount],
    temp: str,
    images: Images,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    bundle = {"name": "launcher", "mountPath": LAUNCHER_PATH}
    volumes: list[dict[str, Any]] = [
        {"name": "launcher", "emptyDir": {}},
        {"name": "job", "emptyDir": {}},
        {"name": "mounts", "emptyDir": {}},
        *(mount.pod_volume() for mount in mounts),
    ]
    volume_mounts = [
        bundle,
        {"name": "mounts", "mountPath": MOUNT_ROOT},
        {"name": "job", "mountPath": temp},
        *(mount.volume_mount() for mount in mounts),
    ]
    container_settings = job.spec.container_settings
    if container_settings is not None and container_settings.shm_size:
        limit = memory_quantity(container_settings.shm_size)
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": limit}})
        volume_mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - in the pod
    resources = {"limits": {names.GPU_RESOURCE: str(gpus)}} if gpus else {}
    grace = job.spec.termination_grace_period_seconds
    pull_secret = secrets.pull_secret(job.spec)
    return {
        "restartPolicy": "Never",
        "imagePullSecrets": [{"name": pull_secret}] if pull_secret else [],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "activeDeadlineSeconds": _wall_clock_seconds(job.spec),
        "terminationGracePeriodSeconds": grace + _STOP_MARGIN_SECONDS,
        # The scheduler still checks resources and taints, but looks at one node only.
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
            *(_plain(toleration) for toleration in cluster.tolerations or []),
            {"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
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
        "initContainers": [
            {
                "name": LAUNCHER_CONTAINER,
                "image": images.launcher,
                "command": ["/launcher/install", LAUNCHER_PATH],
                "volumeMounts": [bundle],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            }
        ],
        "containers": [
            {
                "name": JOB_CONTAINER,
                "image": job_image(job.spec, images),
                "command": [
                    f"{LAUNCHER_PATH}/tini",
                    "-g",
                    "--",
                    f"{LAUNCHER_PATH}/busybox",
                    "sh",
                    f"{LAUNCHER_PATH}/launch",
                ],
                "env": [
                    *({"name": name, "value": _literal(value)} for name, value in environment.items()),
                    *secrets.variables(job.spec),
                ],
                "resources": resources,
                "securityContext": {"runAsUser": 0},
                "volumeMounts": volume_mounts,
            }
        ],
        "volumes": volumes,
    }


def _launch_environment(
    spec: JobSpec, identity: JobIdentity, launch: Launch, mounts: Sequence[Mount], hosts: Sequence[str], image: str
) -> dict[str, str]:
    work = f"{identity.temp}/wd"
    directories = [
        work,
        f"{identity.temp}/shared",
        stdouterr_path(spec, identity),
        *output_paths(spec, identity).values(),
    ]
    environment = {
        f"{_LAUNCH}DIRECTORIES": "\n".join(dict.fromkeys(directories)),
        f"{_LAUNCH}WORK_DIR": work,
        f"{_LAUNCH}EXECUTION_LOG": "execution.log",
        f"{_LAUNCH}HOST_FILE_CONTENT": host_file(hosts, slots=len(launch.nodes[0])),
        f"{_LAUNCH}MOUNTS": "\n".join(f"{mount.volume.split('-')[0]}\t{mount.title}\t{mount.path}" for mount in mounts),
        f"{_LAUNCH}IMAGE": image,
        f"{_LAUNCH}GRACE_SECONDS": str(spec.termination_grace_period_seconds),
    }
    if spec.job_preparation is not None:
        environment[f"{_LAUNCH}PREPARATION"] = spec.job_preparation.command_line
        environment[f"{_LAUNCH}PREPARATION_STDOUT"] = "stdout-job_prep.txt"
        environment[f"{_LAUNCH}PREPARATION_STDERR"] = "stderr-job_prep.txt"
    return environment


def _processes(processes: Sequence[Process], variables: Mapping[str, str]) -> dict[str, str]:
    environment = {f"{_LAUNCH}PROCESSES": str(len(processes))}
    for index, process in enumerate(processes):
        prefix = f"{_LAUNCH}PROCESS_{index}_"
        environment[f"{prefix}COMMAND"] = process.command
        environment[f"{prefix}STDOUT"] = process.stdout
        environment[f"{prefix}STDERR"] = process.stderr
        if process.environment:
            environment[f"{prefix}ENVIRONMENT"] = "\n".join(
                f"{name}={expand(value, variables)}" for name, value in process.environment.items()
            )
    return environment


def _literal(value: str) -> str:
    """Kubernetes expands $(NAME) in a container's environment; a doubled dollar stands for itself."""
    return value.replace("$", "$$")


def _plain(model: Model) -> dict[str, Any]:
    return model.model_dump(by_alias=True, exclude_none=True)


def _wall_clock_seconds(spec: JobSpec) -> int:
    return int(parse_duration(spec.constraints.max_wall_clock_time).total_seconds())


def memory_quantity(docker_size: str) -> str:
    """A Kubernetes quantity for Docker's sizes: `16gb` → `16Gi`, `512m` → `512Mi`, bytes stay (reference §6.2)."""
    number = docker_size.rstrip("bBkKmMgGtT ")
    unit = docker_size[len(number) :].strip().lower().rstrip("b")
    return f"{number}{unit.upper()}i" if unit else number
