"""What the launcher of a node is told, as variables that the job's processes do not see (launcher/README.md)."""

from collections.abc import Mapping, Sequence

from batchai.api.job import JobSpec
from batchai.plan.directories import JobIdentity, expand, output_paths, stdouterr_path
from batchai.plan.environment import host_file
from batchai.plan.mounts import Mount
from batchai.toolkits import Launch, Process

_PREFIX = "BATCHAI_LAUNCH_"
_SSH_PORT = 23
"""As the service had it (reference §3)."""
_UNPRIVILEGED_SSH_PORT = 2323


def launch_environment(
    spec: JobSpec,
    identity: JobIdentity,
    launch: Launch,
    *,
    index: int,
    nodes: Sequence[str],
    hosts: Sequence[str],
    shared: str | None,
    variables: Mapping[str, str],
    mounts: Sequence[Mount],
    image: str,
) -> dict[str, str]:
    """The variables of the launcher on node `index`.

    nodes, hosts: the job's nodes and the names of their pods, master first; shared: the directory on a share that
    the nodes have in common; variables: what the values of the processes' own variables may name.
    """
    several = len(nodes) > 1
    # A node's own files have its name when there are several (reference §5.2).
    suffix = f"-{nodes[index]}" if several else ""
    work, local_shared = f"{identity.temp}/wd", f"{identity.temp}/shared"
    directories = [
        work,
        *([] if shared else [local_shared]),
        stdouterr_path(spec, identity),
        *output_paths(spec, identity).values(),
    ]
    settings = {
        "DIRECTORIES": "\n".join(dict.fromkeys(directories)),
        "WORK_DIR": work,
        "EXECUTION_LOG": f"execution{suffix}.log",
        "HOST_FILE_CONTENT": host_file(hosts, launch.slots),
        "IMAGE": image,
        "GRACE_SECONDS": str(spec.termination_grace_period_seconds),
        "HOSTS": "\n".join(f"{host}\t{node}" for host, node in zip(hosts, nodes, strict=True)),
        "NODE_INDEX": str(index),
    }
    if several:
        settings["PEER_SECONDS"] = str(spec.peer_timeout_seconds)
        settings["SSH_PORT"] = str(_UNPRIVILEGED_SSH_PORT if spec.pod_security == "restricted" else _SSH_PORT)
    if shared:
        settings["SHARED_TARGET"], settings["SHARED_LINK"] = shared, local_shared
    if spec.job_preparation is not None:
        settings["PREPARATION"] = spec.job_preparation.command_line
        settings["PREPARATION_STDOUT"] = f"stdout-job_prep{suffix}.txt"
        settings["PREPARATION_STDERR"] = f"stderr-job_prep{suffix}.txt"
    return launcher_variables(settings, mounts=mounts, processes=launch.nodes[index], variables=variables)


def launcher_variables(
    settings: Mapping[str, str], *, mounts: Sequence[Mount], processes: Sequence[Process], variables: Mapping[str, str]
) -> dict[str, str]:
    """The launcher's variables for what every pod has; settings: the others, by their names without prefix."""
    lines = "\n".join(f"{mount.volume.split('-')[0]}\t{mount.title}\t{mount.path}" for mount in mounts)
    found = {**settings, "MOUNTS": lines, **_processes(processes, variables)}
    return {f"{_PREFIX}{name}": value for name, value in found.items()}


def _processes(processes: Sequence[Process], variables: Mapping[str, str]) -> dict[str, str]:
    settings = {"PROCESSES": str(len(processes))}
    for index, process in enumerate(processes):
        prefix = f"PROCESS_{index}_"
        settings[f"{prefix}COMMAND"] = process.command
        settings[f"{prefix}STDOUT"] = process.stdout
        settings[f"{prefix}STDERR"] = process.stderr
        if process.title:
            settings[f"{prefix}TITLE"] = process.title
        if process.serves:
            settings[f"{prefix}SERVES"] = "1"
        if process.environment:
            settings[f"{prefix}ENVIRONMENT"] = "\n".join(
                f"{name}={expand(value, variables)}" for name, value in process.environment.items()
            )
    return settings
