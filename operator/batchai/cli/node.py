"""`node list` and `node exec` of clusters and of jobs: through the Kubernetes API, without ssh.

A job has one pod on each of its nodes; a command on a node runs in that pod.
"""

import threading
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack

from batchai.api import names
from batchai.api.job import TERMINAL_STATES
from batchai.cli import arguments, forward, kube, lookup, shapes
from batchai.cli.arguments import Group
from batchai.cli.job import execution_state, job_path
from batchai.cli.kube import Object
from batchai.cli.lookup import CLUSTER, JOB, Path
from batchai.cli.output import Row
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.cli.session import Session
from batchai.plan.node_pod import JOB_CONTAINER
from batchai.toolkits.base import LAUNCHER_PATH


def register_for_clusters(clusters: Group) -> None:
    """Adds the commands to those of clusters."""
    nodes = clusters.group("node", "Nodes of a cluster.")
    _cluster(nodes.command("list", "List the nodes of a cluster.", list_of_cluster, _row, watch=True))
    parser = nodes.command("exec", "Run a command on a node of a cluster, in the pod of its job.", exec_on_cluster)
    _cluster(parser)
    _exec(parser)


def register_for_jobs(jobs: Group) -> None:
    """Adds the commands to those of jobs."""
    nodes = jobs.group("node", "Nodes of a job.")
    _job(nodes.command("list", "List the nodes that a job runs on.", list_of_job, _row, watch=True))
    parser = nodes.command("exec", "Run a command on a node of a job, in its container.", exec_on_job)
    _job(parser)
    _exec(parser)


def _cluster(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--cluster", metavar="NAME", required=True, help="name of the cluster")
    arguments.workspace(parser)


def _job(parser: ArgumentParser) -> None:
    parser.add_argument("-j", "--job", metavar="NAME", required=True, help="name of the job")
    arguments.experiment(parser)


def _exec(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--node-id", metavar="NODE", help="name of the node (the first one)")
    parser.add_argument("--exec", dest="command", metavar="COMMAND", help="command line for the node's shell")
    parser.add_argument(
        "-L",
        "--address",
        metavar="LPORT:HOST:RPORT",
        action="append",
        default=[],
        help="forward a local port to a port of the node (repeatable); alone until Ctrl-C",
    )
    parser.add_argument("-p", "--password", help="not needed: the Kubernetes API knows you")
    parser.add_argument("-k", "--ssh-private-key", metavar="FILE", help="not needed either")


def list_of_cluster(args: Namespace, session: Session) -> list[Object]:
    """The Kubernetes nodes that a cluster has."""
    cluster = _found_cluster(args, session)
    labels = {
        names.LABEL_CLUSTER: cluster["metadata"]["name"],
        names.LABEL_CLUSTER_NAMESPACE: args.resource_group,
    }
    nodes = sorted(session.kube.list(kube.NODES, None, labels), key=lambda node: str(node["metadata"]["name"]))
    return [shapes.node(node["metadata"]["name"], _address(node)) for node in nodes]


def list_of_job(args: Namespace, session: Session) -> list[Object]:
    """The nodes that a job runs on, master first, with the addresses of its pods."""
    job = lookup.find(session, JOB, job_path(args, args.job))
    return [shapes.node(node_of(pod), pod.get("status", {}).get("podIP")) for pod in _running(pods_of(session, job))]


def exec_on_cluster(args: Namespace, session: Session) -> None:
    """Runs a command in the pod of the job that a cluster's node runs."""
    cluster = _found_cluster(args, session)
    labels = {names.LABEL_CLUSTER: cluster["metadata"]["name"], names.LABEL_MANAGED_BY: names.MANAGED_BY}
    running = _running(session.kube.list(kube.PODS, args.resource_group, labels))
    pod = _on_node(running, args.node_id)
    if pod is None:
        where = f"node '{args.node_id}'" if args.node_id else "any node"
        debug = f"kubectl debug node/{args.node_id or 'NODE'} -it --image=busybox"
        raise Problem(
            f"no job runs on {where} of cluster '{args.cluster}', so there is no pod to run a command in.",
            f"A shell on the node itself, if you may have one: {debug}",
        )
    _exec_in(args, session, pod)


def exec_on_job(args: Namespace, session: Session) -> None:
    """Runs a command in a job's container."""
    job = lookup.find(session, JOB, job_path(args, args.job))
    running = _running(pods_of(session, job))
    pod = _on_node(running, args.node_id)
    if pod is None and running:
        raise NotFound(
            f"job '{args.job}' does not run on node '{args.node_id}'.",
            f"It runs on {', '.join(map(node_of, running))}.",
        )
    if pod is None:
        raise without_container(job, args.job)
    _exec_in(args, session, pod)


def pods_of(session: Session, job: Object) -> list[Object]:
    """The pods of a job's current attempt, master first."""
    labels = {names.LABEL_JOB_UID: job["metadata"]["uid"], names.LABEL_ATTEMPT: str(_attempt(job))}
    found = session.kube.list(kube.PODS, job["metadata"]["namespace"], labels)
    return sorted(found, key=index_of)


def without_container(job: Object, name: str) -> Problem:
    """What to answer for a job, called `name`, that has no container to run a command in."""
    state = execution_state(job)
    return Problem(
        f"job '{name}' is {state}: it has no running container.",
        "Its files: batchai job file list" if state in TERMINAL_STATES else "Why: batchai job explain",
    )


def _attempt(job: Object) -> int:
    return int(job.get("status", {}).get("attempt") or 0)


def _exec_in(args: Namespace, session: Session, pod: Object) -> None:
    """Runs the command of the arguments, else forwards until Ctrl-C. Ends with the command's exit code."""
    rules = [forward.parse(text) for text in args.address]
    if not args.command and not rules:
        raise UsageProblem("there is nothing to do.", "Give --exec 'COMMAND', or -L lport:host:rport.")
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    with ExitStack() as stack:
        for rule in rules:
            port = stack.enter_context(
                forward.forwarding(rule, lambda port: session.kube.dial(namespace, name, port), session.say)
            )
            session.say(f"Forwarding {rule.bind}:{port} to port {rule.remote} of node '{node_of(pod)}'.")
        if not args.command:
            threading.Event().wait()
        command = _in_work_directory(args.command)
        code = session.kube.execute(namespace, name, JOB_CONTAINER, command, session.out, session.err)
    if code:
        raise SystemExit(code)


def _in_work_directory(command: str) -> list[str]:
    """The command in the image's shell, with ~/.bashrc and where the job's own commands run.

    az ran `bash -ilc` over ssh (Batch AI reference §8); the launcher brings what an image may lack.
    """
    script = (
        f'cd "$AZ_BATCHAI_JOB_TEMP/wd" 2>/dev/null; PATH={LAUNCHER_PATH}/bin:$PATH; '
        f'exec {LAUNCHER_PATH}/bashrc {LAUNCHER_PATH}/shell -c "$0"'
    )
    return [f"{LAUNCHER_PATH}/busybox", "sh", "-c", script, command]


def _found_cluster(args: Namespace, session: Session) -> Object:
    return lookup.find(session, CLUSTER, Path(args.resource_group, args.workspace, name=args.cluster))


def _running(pods: list[Object]) -> list[Object]:
    """The pods whose job container runs, master first."""
    return sorted(
        (pod for pod in pods if container_runs(pod)),
        key=lambda pod: (shapes.label(pod, names.LABEL_JOB), index_of(pod)),
    )


def container_runs(pod: Object) -> bool:
    """Whether the pod's container can be asked to run a command."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return any("running" in container.get("state", {}) for container in statuses)


def _on_node(pods: list[Object], node: str | None) -> Object | None:
    return next((pod for pod in pods if node in (None, node_of(pod))), None)


def node_of(pod: Object) -> str:
    """The name of a pod's node."""
    return str(pod["metadata"]["annotations"][names.ANNOTATION_NODE])


def index_of(pod: Object) -> int:
    """The number of a pod's node in its job."""
    return int(shapes.label(pod, names.LABEL_INDEX))


def _address(node: Object) -> str | None:
    """A node's address, the outer one where it has one."""
    addresses = {item["type"]: item["address"] for item in node.get("status", {}).get("addresses") or []}
    return addresses.get("ExternalIP") or addresses.get("InternalIP")


def _row(node: Object) -> Row:
    return {"ID": node["nodeId"], "IP": node["ipAddress"], "SSH Port": node["port"]}
