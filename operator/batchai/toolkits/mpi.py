"""What the toolkits that run under mpirun share. MPI itself is the image's."""

from batchai.toolkits import shell
from batchai.toolkits.base import MASTER_PORT, Allocation, Launch, Process


def launch(command: str, count: int, nodes: Allocation) -> Launch:
    """mpirun on the master, which starts the program `count` times over the nodes (reference §3).

    The launcher's batchai-mpirun knows the MPI of the image. Its ranks also find what torch.distributed reads.
    """
    master = Process(shell.program("batchai-mpirun", f"-np {count}", command), title="mpirun")
    return Launch(
        nodes=((master,), *(() for _ in nodes.hosts[1:])),
        slots=nodes.spread(count),
        environment={"MASTER_ADDR": nodes.hosts[0], "MASTER_PORT": str(MASTER_PORT)},
    )


def launch_if_several(command: str, count: int, nodes: Allocation) -> Launch:
    """The program itself when one process is wanted, on the master; else mpirun."""
    if count > 1:
        return launch(command, count, nodes)
    return on_master(command, nodes)


def on_master(command: str, nodes: Allocation) -> Launch:
    """One process on the master. It may fan out itself: a node takes a process per GPU."""
    slots = tuple(max(1, nodes.gpus) for _ in nodes.hosts)
    return Launch(nodes=((Process(command),), *(() for _ in nodes.hosts[1:])), slots=slots)
