"""What a toolkit is to the rest: a job and its nodes in, the processes of each node out. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchai.api.job import JobSpec

LAUNCHER_PATH = "/opt/batchai"
"""Where the launcher's programs lie in the container of every job."""
MASTER_PORT = 23456
"""Where rank 0 listens for the others. Any free port does: jobs do not share a network namespace."""


@dataclass(frozen=True)
class Allocation:
    """The nodes of a job.

    hosts: the names under which they reach each other, master first; gpus: GPUs of each node, 0 if there are none
    or before the nodes are known; shared: $AZ_BATCHAI_SHARED_JOB_TEMP is the same directory on all of them.
    """

    hosts: tuple[str, ...]
    gpus: int = 0
    shared: bool = True

    def spread(self, count: int) -> tuple[int, ...]:
        """How many of `count` processes each node gets: as evenly as it goes, the first nodes one more."""
        each, more = divmod(count, len(self.hosts))
        return tuple(each + (node < more) for node in range(len(self.hosts)))


@dataclass(frozen=True)
class Process:
    """One process that the launcher starts on a node.

    command: shell text, in which $VARIABLES are expanded on the node (reference §3); title: what to call it in an
    error; stdout, stderr: file names in the job's stdouterr directory (reference §5.2); environment: what this
    process has besides the job's variables, which its values may name; serves: it runs until the others have ended.
    """

    command: str
    title: str = ""
    stdout: str = "stdout.txt"
    stderr: str = "stderr.txt"
    environment: Mapping[str, str] = field(default_factory=dict)
    serves: bool = False


@dataclass(frozen=True)
class Launch:
    """A job's processes by node; the first process of node 0 is the master, whose exit is the job's.

    slots: MPI processes of each node, as the host file says; environment: variables that every process of the job
    has because of its toolkit.
    """

    nodes: tuple[tuple[Process, ...], ...]
    slots: tuple[int, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Toolkit:
    """One of Batch AI's toolkits.

    settings: the field of the job that holds its settings, as users write it; launch: it raises SpecError for what
    the toolkit cannot run.
    """

    settings: str
    launch: Callable[[JobSpec, Allocation], Launch]
