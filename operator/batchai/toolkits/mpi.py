"""What the toolkits that run under mpirun share. MPI itself is the image's."""

from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process


def launch(command: str, processes: int) -> Launch:
    """mpirun on the master, which starts the program in every process."""
    return Launch(nodes=((Process(shell.mpirun(command, processes)),),))
