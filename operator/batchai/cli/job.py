"""`batchai job`: create, show, list, delete, terminate, wait."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchai.api.job import TERMINAL_STATES
from batchai.cli import accounts, arguments, configfile, jobfile, kube, lookup, shapes
from batchai.cli.accounts import Given
from batchai.cli.arguments import Group
from batchai.cli.jobfile import JobFile
from batchai.cli.kube import Object
from batchai.cli.lookup import CLUSTER, EXPERIMENT, JOB, Path
from batchai.cli.output import Row
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.cli.session import DELETE_SECONDS, Session


def register(commands: Group) -> Group:
    """Adds the commands; returns the group, for those of files."""
    jobs = commands.group("job", "Jobs: training runs.")
    parser = jobs.command("create", "Create a job.", create, row)
    parser.add_argument("-f", "--config-file", metavar="FILE", required=True, help="the job as JSON (job.json)")
    creation(parser)
    _name(jobs.command("show", "Show a job.", show, row, watch=True), by_id=True)
    arguments.experiment(jobs.command("list", "List the jobs of an experiment.", list_all, row, watch=True))
    parser = jobs.command("delete", "Delete a job; its output stays in storage.", delete, ask=True)
    _name(parser, by_id=True)
    arguments.no_wait(parser)
    parser = jobs.command("terminate", "Stop a job; it stays, as failed.", terminate, ask=True)
    _name(parser, by_id=True)
    arguments.no_wait(parser)
    parser = jobs.command("wait", "Wait for a job's end and exit with its exit code.", wait)
    _name(parser, by_id=True)
    parser.add_argument("--interval", metavar="SECONDS", type=arguments.seconds, default=15, help="between looks (15)")
    return jobs


def _name(parser: ArgumentParser, *, by_id: bool = False) -> None:
    arguments.own_name(parser, "job", "-j", "--job")
    arguments.experiment(parser)
    if by_id:
        arguments.ids(parser, "workspaces", "experiments", "jobs")


def creation(parser: ArgumentParser) -> None:
    """What a job is made of besides its file."""
    _name(parser)
    parser.add_argument("-c", "--cluster", help="cluster of the workspace, or a cluster's id")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="environment variable, added to the file's (repeatable)",
    )
    arguments.storage(parser)
    arguments.no_wait(parser)


def job_path(args: Namespace, name: str) -> Path:
    """Where the arguments say that the job `name` lives."""
    return Path(args.resource_group, args.workspace, args.experiment, name)


def create(args: Namespace, session: Session) -> Object:
    """Creates the job of a config file and the Secrets that it needs."""
    given = accounts.of_arguments(args, session.environ)
    return create_of(args, session, given, jobfile.read(args.config_file, vars(args), given))


def create_of(
    args: Namespace,
    session: Session,
    given: Given,
    file: JobFile,
    prepare: Callable[[Mapping[str, str]], JobFile] | None = None,
) -> Object:
    """Creates a job and its Secrets.

    prepare: called before the job exists with the Secret of each of its storage accounts; the job is then what it
    returns.
    """
    for warning in file.warnings:
        session.say(f"WARNING: {warning}")
    path = job_path(args, args.name)
    above = Path(args.resource_group, args.workspace, name=args.experiment)
    experiment = lookup.find(session, EXPERIMENT, above)["metadata"]["name"]
    cluster = find_cluster(session, path, args.cluster or file.cluster)
    name = lookup.free_name(session, JOB, path)
    secrets = accounts.provide_all(session, path.namespace, given, file.keys)
    if prepare:
        file = prepare(secrets)
    spec = file.spec(job=name, experiment=experiment, cluster=cluster["metadata"]["name"], accounts=secrets)
    body = lookup.manifest(JOB, path, name, spec)
    with configfile.refusals_of(file.source):
        created = lookup.create(session, JOB, path, body, file.secrets(name, path.namespace))
    if not args.no_wait:
        created = lookup.provisioned(session, JOB, created)
    return _told(session, created)


def show(args: Namespace, session: Session) -> Object:
    """One job."""
    return _told(session, lookup.find(session, JOB, job_path(args, args.name)))


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The jobs of an experiment."""
    found = lookup.list_in(session, JOB, job_path(args, ""))
    subscription = lookup.subscription(session)
    clusters = {item["metadata"]["name"]: item for item in session.kube.list(kube.CLUSTERS, args.resource_group)}
    return [shapes.job(item, subscription, clusters.get(item["spec"]["cluster"])) for item in found]


def delete(args: Namespace, session: Session) -> None:
    """Deletes a job."""
    lookup.delete(session, JOB, job_path(args, args.name), wait=not args.no_wait)


def terminate(args: Namespace, session: Session) -> None:
    """Stops a job. One that is finished stays as it is (Batch AI reference §2)."""
    path = job_path(args, args.name)
    item = lookup.find(session, JOB, path)
    name = item["metadata"]["name"]
    if has_ended(item):
        return
    session.kube.patch(JOB.resource, path.namespace, name, {"spec": {"terminate": True}})
    if args.no_wait:
        return

    def ended() -> bool | None:
        return has_ended(session.kube.get(JOB.resource, path.namespace, name)) or None

    if session.poll(ended, DELETE_SECONDS, "The job is being stopped") is None:
        raise Problem(
            f"job '{path.name}' is being terminated, but has not ended after {DELETE_SECONDS} s.",
            f"What holds it: kubectl describe jobs.batchai.dev -n {path.namespace} {name}",
        )


def wait(args: Namespace, session: Session) -> None:
    """Tells of a job's states until its end, then exits: 0, the job's exit code, or -1 if it has none."""
    path = job_path(args, args.name)
    item = lookup.find(session, JOB, path)
    name, uid = item["metadata"]["name"], item["metadata"]["uid"]
    session.say(f"Job submitted at {item['metadata']['creationTimestamp']}")
    started, state = "", ""
    while True:
        info = item.get("status", {}).get("executionInfo") or {}
        if info.get("startTime") not in (None, started):
            started = info["startTime"]
            session.say(f"Job started at {started}")
        if execution_state(item) != state:
            state = execution_state(item)
            session.say(f"Job state: {state}{reason(item)}")
        if state in TERMINAL_STATES:
            break
        session.pause(args.interval, f"The job is {state}{reason(item)}")
        found = session.patiently(lambda: session.find_named(JOB.resource, path.namespace, name))
        if found is None or found["metadata"]["uid"] != uid:
            raise NotFound(f"job '{path.name}' was deleted while it was waited for.")
        item = found
    if state == "succeeded":
        raise SystemExit(0)
    for line in failures(item):
        session.say(line)
    raise SystemExit(info.get("exitCode") or -1)


def execution_state(item: Object) -> str:
    """status.executionState; a job that the operator has not seen is queued."""
    return str(item.get("status", {}).get("executionState") or "queued")


def has_ended(item: Object) -> bool:
    """Whether nothing of the job runs any more, and nothing will."""
    return execution_state(item) in TERMINAL_STATES


def failures(item: Object) -> Iterator[str]:
    """Lines that say why a job failed."""
    for problem in (item.get("status", {}).get("executionInfo") or {}).get("errors") or []:
        yield f"{problem['code']}: {problem['message']}"
        for detail in problem.get("details") or []:
            yield f"  {detail['name']}: {detail['value']}"


def find_cluster(session: Session, path: Path, reference: str | None) -> Object:
    """The cluster of a job at `path`: by name in its workspace, or by id, in its resource group.

    An id may have the group's name of before, which no namespace could have.
    """
    if not reference:
        raise UsageProblem("the job names no cluster.", "Give -c, or cluster.id in the config file.")
    workspace, name = path.workspace, reference
    if "/" in reference:
        group, workspace, name = (
            shapes.id_part(reference, part) for part in ("resourceGroups", "workspaces", "clusters")
        )
        if not (workspace and name):
            raise UsageProblem(f"'{reference}' is no cluster's id.", "Give the cluster's name with -c.")
        if path.namespace not in (group.lower(), lookup.namespace_name(group)):
            raise UsageProblem(
                f"cluster '{name}' is in resource group '{group}', the job in '{path.namespace}'.",
                "A job and its cluster share a namespace: give the name of a cluster of the job's with -c.",
            )
    return lookup.find(session, CLUSTER, Path(path.namespace, workspace, name=name))


def _told(session: Session, item: Object) -> Object:
    """One job as az prints it; what it waits for, which az never knew, is said beside it."""
    if execution_state(item) == "queued" and (why := reason(item)):
        session.say(f"The job is queued{why}.")
    cluster = session.find_named(kube.CLUSTERS, item["metadata"]["namespace"], item["spec"]["cluster"])
    return shapes.job(item, lookup.subscription(session), cluster)


def reason(item: Object) -> str:
    """What a queued job waits for, as the end of a sentence."""
    message = (item.get("status", {}).get("waiting") or {}).get("message", "").rstrip(".")
    return f": {message}" if message else ""


def row(job: dict[str, Any]) -> Row:
    """A job as a row of its table (Batch AI reference §8)."""
    info = job["executionInfo"] or {}
    deleting = job["provisioningState"] == "deleting"
    return {
        "Name": job["name"],
        "Cluster": shapes.id_part(job["cluster"]["id"], "clusters"),
        "Cluster RG": job["cluster"]["resourceGroup"],
        "Cluster Workspace": shapes.id_part(job["cluster"]["id"], "workspaces"),
        "Tool": job["toolType"],
        "Nodes": job["nodeCount"],
        "State": "deleting" if deleting else job["executionState"],
        "Exit code": info.get("exitCode"),
    }
