"""What a toolkit is to the rest: a job in, the processes of each of its nodes out. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchai.api.job import JobSpec


@dataclass(frozen=True)
class Process:
    """One process that the launcher starts on a node.

    command: shell text, in which $VARIABLES are expanded on the node (reference §3); stdout, stderr: file
    names in the job's stdouterr directory (reference §5.2); environment: what this process has besides the
    job's variables.
    """

    command: str
    stdout: str = "stdout.txt"
    stderr: str = "stderr.txt"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """A job's processes by node; index 0 is the master, whose first process decides the job's result.

    environment: variables that every process of the job has because of its toolkit.
    """

    nodes: tuple[tuple[Process, ...], ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Toolkit:
    """One of Batch AI's toolkits.

    settings: the field of the job that holds its settings, as users write it; launch raises SpecError for
    what the toolkit cannot run.
    """

    settings: str
    launch: Callable[[JobSpec], Launch]
