"""pyTorchSettings: a Python script in processes that find each other by an init method (reference §3).

TCP and Gloo: every process is started here, with the variables of the service and with those that torch.distributed
reads by itself. MPI: mpirun starts them.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import mpi, shell
from batchai.toolkits.base import MASTER_PORT, Allocation, Launch, Process, Toolkit

_BACKEND = "AZ_BATCHAI_PYTORCH_BACKEND"


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """processCount processes, spread evenly over the nodes, ranks counted node by node."""
    settings = job.py_torch_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    command = shell.script(settings)
    count = settings.process_count or job.node_count
    backend = (settings.communication_backend or "").lower()
    if backend == "mpi":
        found = mpi.launch(command, count, nodes)
        return replace(found, environment={**found.environment, _BACKEND: backend})
    if count > 1 and not backend:
        raise SpecError("spec.pyTorchSettings.communicationBackend", "several processes need TCP, Gloo or MPI")
    slots = nodes.spread(count)
    if not slots[-1]:
        raise SpecError(
            "spec.pyTorchSettings.processCount", f"{count} processes leave some of the {len(slots)} nodes without one"
        )
    first_ranks = (0, *accumulate(slots))
    return Launch(
        nodes=tuple(
            tuple(_processes(command, _init_method(backend, nodes), range(first, first + size), count, nodes.hosts[0]))
            for first, size in zip(first_ranks, slots, strict=False)
        ),
        slots=slots,
        environment={_BACKEND: backend} if backend else {},
    )


def _init_method(backend: str, nodes: Allocation) -> str | None:
    # Between nodes a file would need locks that SMB shares, mounted with nobrl, do not have.
    if backend == "gloo" and len(nodes.hosts) == 1:
        return "file://$AZ_BATCHAI_SHARED_JOB_TEMP/pytorch-init"
    return f"tcp://{nodes.hosts[0]}:{MASTER_PORT}" if backend else None


def _processes(command: str, init_method: str | None, ranks: range, count: int, master: str) -> Iterator[Process]:
    for local, rank in enumerate(ranks):
        environment = {
            "AZ_BATCHAI_TASK_INDEX": str(rank),
            "RANK": str(rank),
            "LOCAL_RANK": str(local),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(len(ranks)),
            "MASTER_ADDR": master,
            "MASTER_PORT": str(MASTER_PORT),
        }
        if init_method:
            environment["AZ_BATCHAI_PYTORCH_INIT_METHOD"] = init_method
        yield Process(command, f"rank {rank}", f"stdout-{rank}.txt", f"stderr-{rank}.txt", environment)


TOOLKIT = Toolkit(settings="pyTorchSettings", launch=launch)
