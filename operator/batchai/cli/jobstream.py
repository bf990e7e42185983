"""`batchai job stream`: what all nodes of a job write, as they write it, until the job ends."""

from argparse import Namespace
from collections.abc import Mapping
from queue import Empty, Queue

from batchai import toolkits
from batchai.api import names
from batchai.api.job import TERMINAL_STATES, Job
from batchai.cli import arguments, lookup
from batchai.cli.arguments import Group
from batchai.cli.job import execution_state, failures, job_path, reason
from batchai.cli.kube import Object
from batchai.cli.logs import End, Line, Reader
from batchai.cli.lookup import JOB
from batchai.cli.node import index_of, pods_of
from batchai.cli.session import Session
from batchai.cli.shapes import label
from batchai.errors import BatchAIError, SpecError
from batchai.toolkits import Allocation

POLL_SECONDS = 1.0
_COLOURS = (36, 33, 32, 35, 34, 31)
"""Of the names, in turn: cyan, yellow, green, magenta, blue, red."""


def register(jobs: Group) -> None:
    """Adds the command to those of jobs."""
    parser = jobs.command("stream", "Print what all nodes of a job write, until the job ends.", stream)
    arguments.own_name(parser, "job", "-j", "--job")
    arguments.experiment(parser)


def stream(args: Namespace, session: Session) -> None:
    """Prints the lines of all nodes as they come, behind the names of their processes when there are several nodes."""
    item = lookup.find(session, JOB, job_path(args, args.name))
    name, uid = item["metadata"]["name"], item["metadata"]["uid"]
    lines: Queue[Line | End] = Queue(maxsize=10_000)
    followed: dict[str, str] = {}
    attempts: dict[str, str] = {}
    reading: set[str] = set()
    broken: list[tuple[str, BatchAIError]] = []
    said = ""
    while True:
        found = session.patiently(lambda: session.find_named(JOB.resource, args.resource_group, name))
        if found is None or found["metadata"]["uid"] != uid:
            session.say(f"Job '{args.name}' was deleted.")
            return
        state = execution_state(found)
        for pod_name, error in broken:
            if attempts[pod_name] == str(found.get("status", {}).get("attempt")):
                raise error
            # Its node may be lost; the job goes on elsewhere.
            session.say(f"The log of pod {pod_name} was not read to its end: {error}")
        for pod in session.patiently(lambda found=found: pods_of(session, found)):  # type: ignore[misc]
            pod_name = pod["metadata"]["name"]
            if pod_name not in followed and _has_log(pod):
                followed[pod_name] = _prefix(found, index_of(pod), colour=session.screen.colour)
                attempts[pod_name] = label(pod, names.LABEL_ATTEMPT)
                reading.add(pod_name)
                Reader(session.kube, args.resource_group, pod_name, lines).start()
        told = f"The job is {state}{reason(found)}."
        if state == "queued" and told != said:
            session.say(told)
        said = told
        if session.progress and not reading:
            session.progress(told)
        broken = []
        for end in _print(session, lines, followed):
            reading.discard(end.pod)
            if end.error is not None:
                broken.append((end.pod, end.error))
        if state in TERMINAL_STATES and not reading and not broken:
            break
    session.say(f"Job state: {state}")
    for line in failures(found):
        session.say(line)


def _print(session: Session, lines: "Queue[Line | End]", prefixes: Mapping[str, str]) -> list[End]:
    """Prints what came, for a moment; the ends of logs that came meanwhile."""
    ends = []
    deadline = session.clock() + POLL_SECONDS
    while (rest := deadline - session.clock()) > 0:
        try:
            line = lines.get(timeout=rest)
        except Empty:
            break
        if isinstance(line, Line):
            if session.progress:
                session.progress("")
            session.out.write(prefixes[line.pod].encode() + line.text + b"\n")
        else:
            ends.append(line)
        if lines.empty():
            session.out.flush()
    return ends


def _has_log(pod: Object) -> bool:
    """The job's container has started at some time."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return any({"running", "terminated"} & status.get("state", {}).keys() for status in statuses)


def _prefix(item: Object, index: int, *, colour: bool) -> str:
    """What stands before a node's lines: nothing for a job of one node."""
    labels = names_of(Job.model_validate(item))
    if len(labels) == 1:
        return ""
    text = labels[index].ljust(max(map(len, labels)))
    return f"\033[{_COLOURS[index % len(_COLOURS)]}m{text} |\033[0m " if colour else f"{text} | "


def names_of(job: Job) -> list[str]:
    """What to call each node of a job: by its processes, as `rank 0` or `worker 1`, else by its number."""
    hosts = tuple(f"node {index}" for index in range(job.spec.node_count))
    try:
        nodes = toolkits.launch(job.spec, Allocation(hosts)).nodes
    except SpecError:
        return list(hosts)
    titles = [[process.title for process in processes if process.title] for processes in nodes]
    return [" + ".join(named) or host for named, host in zip(titles, hosts, strict=True)]
