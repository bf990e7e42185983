"""What a toolkit is to the rest: a job and its hosts in, the processes of each node out. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from batchai.api.job import JobSpec


@dataclass(frozen=True)
class Process:
    """One process that the launcher starts on a node.

    command: shell text, in which $VARIABLES are expanded on the node (reference §3); stdout, stderr: file
    names in the job's stdouterr directory (reference §5.2); environment: what this process has besides the
    job's variables, which its values may name.
    """

    command: str
    stdout: str = "stdout.txt"
    stderr: str = "stderr.txt"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """A job's processes by node; the first process of node 0 is the master, whose exit is the job's.

    environment: variables that every process of the job has because of its toolkit.
    """

    nodes: tuple[tuple[Process, ...], ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Toolkit:
    """One of Batch AI's toolkits.

    settings: the field of the job that holds its settings, as users write it; launch: (job, host names of its
    nodes, master first) → processes; it raises SpecError for what the toolkit cannot run.
    """

    settings: str
    launch: Callable[[JobSpec, Sequence[str]], Launch]
