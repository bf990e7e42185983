"""The environment variables of a job (Batch AI reference §4)."""

from collections.abc import Mapping, Sequence

from batchai.api.job import JobSpec
from batchai.plan.directories import JobIdentity, expand, output_paths, stdouterr_path


def job_environment(
    spec: JobSpec, identity: JobIdentity, *, hosts: Sequence[str], gpus: int, attempt: int
) -> dict[str, str]:
    """The variables that every process of the job has, the user's own included.

    hosts: names of the job's nodes, master first; gpus: GPUs of each node. A user's value is passed on as it
    is written; the paths of input directories are expanded, as the service did. An attempt writes where the one
    before it wrote, so from the second one on a job finds there what it can go on from.
    """
    environment = {
        **identity.roots,
        "AZ_BATCHAI_STDOUTERR_DIR": stdouterr_path(spec, identity),
        "AZ_BATCHAI_NUM_GPUS": str(gpus),
        "AZ_BATCHAI_NUM_GPUS_PER_NODE": str(gpus),
        "AZ_BATCHAI_MPI_HOST_FILE": f"{identity.temp}/hostfile",
        "AZ_BATCH_HOST_LIST": ",".join(hosts),
    }
    for directory, path in output_paths(spec, identity).items():
        environment[f"AZ_BATCHAI_OUTPUT_{directory}"] = path
        environment[f"AZ_BATCHAI_PREV_OUTPUT_{directory}"] = path if attempt > 1 else ""
    own = {variable.name: variable.value or "" for variable in spec.environment_variables or []}
    known: Mapping[str, str] = {**environment, **own}
    for source in spec.input_directories or []:
        environment[f"AZ_BATCHAI_INPUT_{source.id}"] = expand(source.path, known)
    return {**environment, **own}


def host_file(hosts: Sequence[str], slots: Sequence[int]) -> str:
    """The Open MPI host file: a line per node with the processes that it takes."""
    return "".join(f"{host} slots={count}\n" for host, count in zip(hosts, slots, strict=True) if count)
