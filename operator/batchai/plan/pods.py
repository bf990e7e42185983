"""The pods of one attempt of a job: one per node, pinned to it, with the launcher as their command (design §2).

Builders only: what is in a pod follows from the arguments, nothing is read from anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchai import toolkits
from batchai.api import names
from batchai.api.cluster import ClusterSpec
from batchai.api.durations import parse_duration
from batchai.api.job import Job, JobSpec
from batchai.errors import SpecError
from batchai.plan import secrets, vaults
from batchai.plan.directories import (
    MOUNT_ROOT,
    JobIdentity,
    check_absolute,
    output_paths,
    shared_path,
    stdouterr_path,
)
from batchai.plan.environment import job_environment
from batchai.plan.launch import launch_environment
from batchai.plan.mounts import Mount, Surroundings, cluster_mounts, job_mounts
from batchai.plan.naming import host_name, pod_name, service_name, shared_claim_name, ssh_secret_name
from batchai.plan.node_pod import (
    BUNDLE_MOUNT,
    JOB_CONTAINER,
    LAUNCH_COMMAND,
    USER,
    helpers,
    launcher,
    literal,
    pinned,
    volumes,
)
from batchai.plan.ownership import owner
from batchai.plan.vaults import VaultIdentity, provider_classes
from batchai.toolkits import Allocation
from batchai.toolkits.base import LAUNCHER_PATH

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


def default_images(
    cluster: ClusterSpec, defaults: Mapping[str, str], vm_images: Mapping[str, Mapping[str, str]]
) -> Mapping[str, str]:
    """The images of a cluster's jobs without containerSettings: those of its VM image go before the operator's.

    vm_images: offer of a VM image, in lower case → settings field of a toolkit, or "*" → image.
    """
    machine = cluster.virtual_machine_configuration
    reference = machine.image_reference if machine else None
    return {**defaults, **(vm_images.get(reference.offer.lower(), {}) if reference else {})}


def check(
    job: Job, identity: JobIdentity, *, vault_identity: VaultIdentity | None = None, command_image: str | None = None
) -> None:
    """Raises SpecError for anything in the job that pods cannot be planned for, whatever nodes it gets.

    vault_identity: as `provider_classes` has it; command_image: as Surroundings have it.
    """
    if job.spec.node_count > 1 and "." in job.metadata.name:
        raise SpecError("metadata.name", "has a dot, but is part of the nodes' host names: use '-' in its place")
    toolkits.launch(job.spec, Allocation(hosts=(job.metadata.name,) * job.spec.node_count))
    surroundings = Surroundings(claims_only=job.spec.pod_security == "restricted", command_image=command_image)
    _check_outputs(job.spec, identity, job_mounts(job.spec.mount_volumes, identity.mount_root, surroundings))
    secrets.check(job.spec)
    provider_classes(job, vault_identity)


def _check_outputs(spec: JobSpec, identity: JobIdentity, mounts: Sequence[Mount]) -> None:
    """Raises SpecError for a directory that the job could not make."""
    written = {"spec.stdOutErrPathPrefix": stdouterr_path(spec, identity)}
    for index, path in enumerate(output_paths(spec, identity).values()):
        written[f"spec.outputDirectories[{index}].pathPrefix"] = path
    for field, path in written.items():
        check_absolute(path, field)
        for mount in mounts:
            if mount.read_only and path.startswith(f"{mount.path}/"):
                raise SpecError(field, f"lies on {mount.title}, which is mounted read-only: choose another mount")


def all_mounts(
    job: Job, identity: JobIdentity, cluster: ClusterSpec | None, surroundings: Surroundings
) -> tuple[Mount, ...]:
    """What the job's pods mount: the cluster's file systems and the job's own. Raises as `job_mounts` does.

    cluster: None if it is gone.
    """
    used = replace(
        surroundings,
        claims_only=job.spec.pod_security == "restricted",
        owner=job.metadata.uid,
    )
    own = job_mounts(job.spec.mount_volumes, identity.mount_root, used)
    return (*cluster_mounts(cluster, used), *own) if cluster else own


def needs_shared_claim(job: Job, identity: JobIdentity, cluster: ClusterSpec) -> bool:
    """The job's nodes share a directory that only a claim can hold."""
    return (
        job.spec.node_count > 1
        and cluster.shared_temp_storage_class is not None
        and shared_path(job.spec, identity, 1) is None
    )


def job_pods(
    job: Job,
    identity: JobIdentity,
    attempt: Attempt,
    *,
    cluster: ClusterSpec,
    images: Images,
    mounts: Sequence[Mount],
    cluster_domain: str = "cluster.local",
) -> list[dict[str, Any]]:
    """The pods of an attempt, master first; mounts: as `all_mounts` has them.

    Raises SpecError as `check` does, and for what its nodes cannot do.
    """
    several = len(attempt.nodes) > 1
    name_of = host_name if several else pod_name
    hosts = tuple(name_of(job.metadata.name, attempt.number, index) for index in range(len(attempt.nodes)))
    target = shared_path(job.spec, identity, attempt.number) if several else None
    claim = several and needs_shared_claim(job, identity, cluster)
    allocation = Allocation(hosts, attempt.gpus, shared=not several or claim or target is not None)
    launch = toolkits.launch(job.spec, allocation)
    variables = job_environment(job.spec, identity, hosts=hosts, gpus=attempt.gpus, attempt=attempt.number)
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": _metadata(job, attempt, index),
            "spec": _pod_spec(
                job,
                attempt=attempt,
                index=index,
                cluster=cluster,
                mounts=mounts,
                temp=identity.temp,
                claim=claim,
                images=images,
                cluster_domain=cluster_domain,
                environment={
                    **_home(job.spec, identity),
                    **launch.environment,
                    **variables,
                    "AZ_BATCH_NODE_ID": node,
                    **launch_environment(
                        job.spec,
                        identity,
                        launch,
                        index=index,
                        nodes=attempt.nodes,
                        hosts=hosts,
                        shared=target,
                        variables=variables,
                        mounts=mounts,
                        image=job_image(job.spec, images),
                    ),
                },
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
        "ownerReferences": [owner(job)],
    }
    if index == 0:
        metadata["finalizers"] = [names.FINALIZER_RESULT]
    return metadata


def _pod_spec(
    job: Job,
    *,
    attempt: Attempt,
    index: int,
    cluster: ClusterSpec,
    mounts: Sequence[Mount],
    temp: str,
    claim: bool,
    images: Images,
    cluster_domain: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    name, uid = job.metadata.name, job.metadata.uid
    node, gpus = attempt.nodes[index], attempt.gpus
    several = len(attempt.nodes) > 1
    vault_volumes = vaults.volumes(job)
    pod_volumes = [*volumes(mounts), {"name": "job", "emptyDir": {}}, *vault_volumes]
    volume_mounts = [
        BUNDLE_MOUNT,
        {"name": "mounts", "mountPath": MOUNT_ROOT},
        {"name": "job", "mountPath": temp},
        *(mount.volume_mount() for mount in mounts),
    ]
    if several:
        pod_volumes.append({"name": "ssh", "secret": {"secretName": ssh_secret_name(name, uid), "defaultMode": 0o400}})
        volume_mounts.append({"name": "ssh", "mountPath": f"{LAUNCHER_PATH}/keys", "readOnly": True})
    if claim:
        pod_volumes.append(
            {"name": "shared", "persistentVolumeClaim": {"claimName": shared_claim_name(name, uid)}},
        )
        subdirectory = str(attempt.number)
        volume_mounts.append({"name": "shared", "mountPath": f"{temp}/shared", "subPath": subdirectory})
    container_settings = job.spec.container_settings
    if container_settings is not None and container_settings.shm_size:
        limit = memory_quantity(container_settings.shm_size)
        pod_volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": limit}})
        volume_mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - in the pod
    devices = ({names.GPU_RESOURCE: str(gpus)} if gpus else {}) | (
        {cluster.rdma_resource: "1"} if cluster.rdma_resource else {}
    )
    security = _security(job.spec, locks_memory=cluster.rdma_resource is not None)
    grace = job.spec.termination_grace_period_seconds
    pull_secret = secrets.pull_secret(job.spec)
    return {
        **(_names(job, attempt.number, index, cluster_domain) if several else {}),
        **pinned(node, cluster),
        "securityContext": security.pod,
        "imagePullSecrets": [{"name": pull_secret}] if pull_secret else [],
        "activeDeadlineSeconds": _wall_clock_seconds(job.spec),
        "terminationGracePeriodSeconds": grace + _STOP_MARGIN_SECONDS,
        # The job has the values in its variables; only the driver needs the mount.
        "initContainers": [launcher(images.launcher, security.launcher, vault_volumes), *helpers(mounts)],
        "containers": [
            {
                "name": JOB_CONTAINER,
                "image": job_image(job.spec, images),
                "command": LAUNCH_COMMAND,
                "env": [
                    *({"name": name, "value": literal(value)} for name, value in environment.items()),
                    *secrets.variables(job.spec.secrets),
                    *vaults.variables(job),
                ],
                "resources": {"limits": devices} if devices else {},
                "securityContext": security.job,
                "volumeMounts": volume_mounts,
            }
        ],
        "volumes": pod_volumes,
    }


def _names(job: Job, attempt: int, index: int, cluster_domain: str) -> dict[str, Any]:
    """A host name below the job's Service; the short ones resolve, too, because Intel MPI uses its own node's."""
    service = service_name(job.metadata.name)
    return {
        "hostname": pod_name(job.metadata.name, attempt, index),
        "subdomain": service,
        "dnsConfig": {"searches": [f"{service}.{job.metadata.namespace}.svc.{cluster_domain}"]},
    }


@dataclass(frozen=True)
class _Security:
    """The securityContexts of the pod and of its two containers."""

    pod: dict[str, Any]
    launcher: dict[str, Any]
    job: dict[str, Any]


def _security(spec: JobSpec, *, locks_memory: bool) -> _Security:
    """Root, as the service had it, or what Pod Security `restricted` asks for.

    locks_memory: RDMA pins memory beyond the limit of a container's processes.
    """
    if spec.pod_security == "restricted":
        ids = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
        pod = {**ids, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        container = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        return _Security(pod, container, container)
    job: dict[str, Any] = {"runAsUser": 0}
    if locks_memory:
        job["capabilities"] = {"add": ["IPC_LOCK"]}
    return _Security({}, {}, job)


def _home(spec: JobSpec, identity: JobIdentity) -> dict[str, str]:
    """A home directory for the user whom the image does not know."""
    return {"HOME": f"{identity.temp}/wd"} if spec.pod_security == "restricted" else {}


def _wall_clock_seconds(spec: JobSpec) -> int:
    return int(parse_duration(spec.constraints.max_wall_clock_time).total_seconds())


def memory_quantity(docker_size: str) -> str:
    """A Kubernetes quantity for Docker's sizes: `16gb` → `16Gi`, `512m` → `512Mi`, bytes stay (reference §6.2)."""
    number = docker_size.rstrip("bBkKmMgGtT ")
    unit = docker_size[len(number) :].strip().lower().rstrip("b")
    return f"{number}{unit.upper()}i" if unit else number
