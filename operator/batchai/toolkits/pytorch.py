"""pyTorchSettings: a Python script in processes that find each other by an init method (reference §3).

TCP and Gloo: every process is started here, with the variables of the service and with those that torch.distributed
reads by itself. MPI: mpirun starts them.
"""

from collections.abc import Iterator, Sequence

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import mpi, shell
from batchai.toolkits.base import Launch, Process, Toolkit

MASTER_PORT = 23456
"""Any free port of the master's pod does; jobs do not share a network namespace."""


def launch(job: JobSpec, hosts: Sequence[str]) -> Launch:
    """processCount processes, spread evenly over the nodes."""
    settings = job.py_torch_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    command = shell.script(settings)
    count = settings.process_count or job.node_count
    backend = (settings.communication_backend or "").lower()
    if backend == "mpi":
        return mpi.launch(command, count)
    if count > 1 and not backend:
        raise SpecError("spec.pyTorchSettings.communicationBackend", "several processes need TCP, Gloo or MPI")
    if count % len(hosts):
        raise SpecError("spec.pyTorchSettings.processCount", f"{count} processes do not spread over {len(hosts)} nodes")
    each = count // len(hosts)
    return Launch(
        nodes=tuple(tuple(_processes(command, backend, node, each, hosts)) for node in range(len(hosts))),
        environment={"AZ_BATCHAI_PYTORCH_BACKEND": backend} if backend else {},
    )


def _processes(command: str, backend: str, node: int, each: int, hosts: Sequence[str]) -> Iterator[Process]:
    methods = {
        "tcp": f"tcp://{hosts[0]}:{MASTER_PORT}",
        "gloo": "file://$AZ_BATCHAI_SHARED_JOB_TEMP/pytorch-init",
    }
    for local in range(each):
        rank = node * each + local
        environment = {
            "AZ_BATCHAI_TASK_INDEX": str(rank),
            "RANK": str(rank),
            "LOCAL_RANK": str(local),
            "WORLD_SIZE": str(each * len(hosts)),
            "MASTER_ADDR": hosts[0],
            "MASTER_PORT": str(MASTER_PORT),
        }
        if backend:
            environment["AZ_BATCHAI_PYTORCH_INIT_METHOD"] = methods[backend]
        yield Process(command, f"stdout-{rank}.txt", f"stderr-{rank}.txt", environment)


TOOLKIT = Toolkit(settings="pyTorchSettings", launch=launch)
