"""What happened to a job, in order, and what to do about it: a function of the Job, its pods and events. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from batchai.api.base import Condition
from batchai.api.cluster import Cluster, ClusterStatus
from batchai.api.job import Job, JobError
from batchai.cli.kube import Object
from batchai.plan.mounts import secret_names
from batchai.plan.naming import azure_name
from batchai.plan.node_pod import JOB_CONTAINER

_SILENCE = timedelta(seconds=60)
"""How long a job may be without a status before the operator is suspected."""
ADVICE = {
    "AZFMountError": "Does the share exist, and has Secret '{secrets}' the account's key? Then submit it again.",
    "BFSMountError": "Does the container exist, and has Secret '{secrets}' the account's key? Then submit it again.",
    "BehindOthers": "Wait, or submit it with schedulingPriority high. The queue: batchai job list -o table",
    "ClusterNotFound": "Make the cluster: batchai cluster create -n {cluster}",
    "ClusterTooSmall": "batchai cluster resize -n {cluster} -t {nodes}, or submit it again with a smaller nodeCount.",
    "ExperimentNotFound": "Make the experiment: batchai experiment create -n {experiment}",
    "FailedCreatingDirectories": "Is there room on the mounts of stdOutErrPathPrefix and outputDirectories?",
    "FailedStartingContainer": "Check the image's name, and whether nodes may pull it; a private registry needs"
    " containerSettings.imageSourceRegistry.credentials.",
    "GpuUnhealthy": "The job avoids that node now: kubectl describe node {node}. More attempts: retryPolicy.limit.",
    "InvalidJob": "Correct the field and submit the job again.",
    "JobPreparationFailed": "Its whole output: batchai job file stream -f {preparation}",
    "JobTerminated": "It was stopped on purpose: submit it again to run it.",
    "KeyVaultError": "May the installation's identity read the vault, and is the secret's URL right? docs/key-vault.md",
    "MaxWallClockTimeExceeded": "Give it more time in constraints.maxWallClockTime (7 days at most), or more nodes.",
    "NameTaken": "Wait until that pod is gone (kubectl get pods), or submit the job under another name.",
    "NodeDeallocated": "The cluster was made smaller: batchai cluster resize -n {cluster} -t {nodes}",
    "NodeLost": "Check the node: kubectl describe node {node}. More attempts: retryPolicy.limit.",
    "NodePreempted": "Nodes that may be taken away need a job that goes on from checkpoints"
    " ($AZ_BATCHAI_PREV_OUTPUT_<id>), and attempts: retryPolicy.limit.",
    "NodesUnreachable": "The job's pods must reach each other by name: is there a NetworkPolicy, or a job of too many"
    " nodes? More patience: peerTimeoutSeconds.",
    "PodDeleted": "Somebody, or something that drains nodes, deleted the pod. More attempts: retryPolicy.limit.",
    "PodLost": "The pod went with its result: was it deleted by force? Submit the job again.",
    "SecretNotFound": "Submit jobs with --storage-account-key or AZURE_BATCHAI_STORAGE_KEY, and the Secret is made.",
    "StorageDriverMissing": "Install the Azure CSI drivers, or wait until they run on the node.",
    "Unschedulable": "Other pods take what the job needs on its node: kubectl describe node {node}",
    "VolumeNotAttached": "Another node has the claim's disk: it comes when the pod there ends, or minutes after the"
    " node died. Jobs on several nodes need a claim of access mode ReadWriteMany.",
    "WaitingForNodes": "Wait for running jobs, or give the cluster more nodes:"
    " batchai cluster resize -n {cluster} -t COUNT",
    "WorkspaceNotFound": "Make the workspace: batchai workspace create",
}
"""Code or reason → what to do."""
_EXITS = {
    126: "Exit code 126: the program may not be executed.",
    127: "Exit code 127: the program was not found in the image.",
    134: "Exit code 134: the program aborted itself.",
    137: "Exit code 137: the program was killed, most often for memory.",
    139: "Exit code 139: the program crashed (segmentation fault).",
}
_KEPT_EVENTS = frozenset({"Pulling", "Pulled"})
"""Events that are no warnings and still explain where time went."""


@dataclass(frozen=True)
class Moment:
    """Something that happened."""

    time: datetime
    what: str


@dataclass(frozen=True)
class Explanation:
    """A job's story: how it stands, the cluster's own words about that, what happened in order, and what to do."""

    summary: str
    details: Sequence[str]
    story: Sequence[Moment]
    advice: Sequence[str]


def explanation(
    item: Object,
    cluster: Object | None,
    pods: Iterable[Mapping[str, Any]],
    events: Iterable[Mapping[str, Any]],
    now: datetime,
) -> Explanation:
    """Explains a job from its resource and its cluster's, its pods, and the events of job and pods."""
    job = Job.model_validate(item)
    moments = [*_of_job(job), *(moment for pod in pods for moment in _of_pod(pod)), *_of_events(events)]
    story = sorted(dict.fromkeys(moments), key=lambda moment: moment.time)
    code, summary = _standing(job, azure_name(item), now)
    advice = list(_advice(job, azure_name(item), cluster, code))
    return Explanation(summary, list(_details(job, cluster)), story, advice)


def _standing(job: Job, name: str, now: datetime) -> tuple[str, str]:
    """The code that advice goes by, and how the job stands in a sentence."""
    state = job.status.execution_state
    created = job.metadata.creation_timestamp
    if state is None:
        if created is not None and now - created >= _SILENCE:
            return "OperatorSilent", f"Job '{name}' was not seen by the operator yet."
        return "", f"Job '{name}' was just created."
    if state == "failed":
        error = _error(job)
        reason = f": {error.message.rstrip('.')} ({error.code})" if error else ""
        return error.code if error else "", f"Job '{name}' has failed{reason}."
    if state == "queued" and job.status.waiting is not None:
        place = f" (place {job.status.queue_position} in the queue)" if job.status.queue_position else ""
        return job.status.waiting.reason, f"Job '{name}' is queued{place}: {job.status.waiting.message.rstrip('.')}."
    if state == "running" and (obstacle := _obstacle(job)) is not None:
        text = f": {obstacle.message.rstrip('.')}" if obstacle.message else ""
        return obstacle.reason, f"Job '{name}' has its nodes, but its containers do not run yet{text}."
    nodes = f" on {', '.join(job.status.nodes)}" if state == "running" and job.status.nodes else ""
    return "", f"Job '{name}' {'has succeeded' if state == 'succeeded' else f'is {state}'}{nodes}."


def _obstacle(job: Job) -> Condition | None:
    """What keeps the containers from running: a fault first, else whatever they wait for."""
    conditions = {condition.type: condition for condition in job.status.conditions or []}
    blocked, started = conditions.get("StartBlocked"), conditions.get("Started")
    if blocked is not None and blocked.status == "True":
        return blocked
    return started if started is not None and started.status == "False" else None


def _error(job: Job) -> JobError | None:
    info = job.status.execution_info
    return info.errors[0] if info and info.errors else None


def _of_job(job: Job) -> Iterator[Moment]:
    if job.metadata.creation_timestamp is not None:
        nodes = _counted(job.spec.node_count)
        text = f"created: {nodes} of cluster '{job.spec.cluster}', priority {job.spec.scheduling_priority}"
        yield Moment(job.metadata.creation_timestamp, text)
    for attempt in job.status.attempts or []:
        yield Moment(attempt.start_time, f"attempt {attempt.number} got {', '.join(attempt.nodes)}")
        if attempt.end_time is not None:
            code = f", exit code {attempt.exit_code}" if attempt.exit_code else ""
            message = f": {attempt.message}" if attempt.message else ""
            yield Moment(attempt.end_time, f"attempt {attempt.number} ended{message} ({attempt.reason}{code})")
    for condition in job.status.conditions or []:
        if condition.type == "StartBlocked" and condition.status == "True":
            yield Moment(condition.last_transition_time, f"cannot start: {condition.message} ({condition.reason})")


def _of_pod(pod: Mapping[str, Any]) -> Iterator[Moment]:
    name = pod["metadata"]["name"]
    for container in pod.get("status", {}).get("containerStatuses") or []:
        if container["name"] != JOB_CONTAINER:
            continue
        state = container.get("state", {})
        ended = state.get("terminated") or {}
        if started := (state.get("running") or ended).get("startedAt"):
            yield Moment(_time(started), f"container of pod {name} started")
        if ended.get("finishedAt"):
            reason = f", {ended['reason']}" if ended.get("reason") not in (None, "Completed", "Error") else ""
            yield Moment(
                _time(ended["finishedAt"]), f"container of pod {name} ended with exit code {ended['exitCode']}{reason}"
            )


def _of_events(events: Iterable[Mapping[str, Any]]) -> Iterator[Moment]:
    for event in events:
        if event.get("type") != "Warning" and event.get("reason") not in _KEPT_EVENTS:
            continue
        series = event.get("series") or {}
        at = event.get("lastTimestamp") or series.get("lastObservedTime") or event.get("eventTime")
        if not at:
            continue
        count = event.get("count") or series.get("count") or 1
        times = f" ({count} times)" if count > 1 else ""
        about = event.get("involvedObject", {})
        place = f"pod {about.get('name')}: " if about.get("kind") == "Pod" else ""
        yield Moment(_time(at), f"{place}{event.get('reason')}: {' '.join(event.get('message', '').split())}{times}")


def _details(job: Job, cluster: Object | None) -> Iterator[str]:
    """The texts behind the summary: of the error, or of what a cluster lacks for a job that waits."""
    if job.status.execution_state == "queued":
        status = Cluster.model_validate(cluster).status if cluster else ClusterStatus()
        for condition in status.conditions or []:
            if condition.type == "NodesAvailable" and condition.status == "False":
                yield f"Cluster '{job.spec.cluster}' has {condition.message}"
        for problem in status.errors or []:
            yield f"{problem.code}: {problem.message}"
    error = _error(job)
    for detail in (error.details or []) if error else []:
        yield f"{detail.name}: {detail.value}"


def _advice(job: Job, name: str, cluster: Object | None, code: str) -> Iterator[str]:
    if code == "OperatorSilent":
        yield "Is it running? kubectl get pods -n batchai-system"
        return
    if code in ADVICE:
        yield ADVICE[code].format_map(_known(job, cluster))
    info = job.status.execution_info
    if info and info.exit_code in _EXITS:
        yield _EXITS[info.exit_code]
    if code == "JobFailed":
        yield f"The files of the job: batchai job file list -j {name}; its logs: batchai job stream -n {name}"


def _known(job: Job, cluster: Object | None) -> Mapping[str, str]:
    """What advice may name."""
    node = next(_suspects(job), "…")
    volumes = job.spec.mount_volumes
    secrets = secret_names(volumes)
    return {
        "cluster": azure_name(cluster) if cluster else job.spec.cluster,
        "experiment": job.spec.experiment,
        "node": node,
        "nodes": str(job.spec.node_count),
        "preparation": "stderr-job_prep.txt" if job.spec.node_count == 1 else f"stderr-job_prep-{node}.txt",
        "secrets": "', '".join(secrets),
    }


def _suspects(job: Job) -> Iterator[str]:
    """The nodes that a problem may be about: the one that the error names, those found faulty, all of the attempt."""
    error = _error(job)
    yield from (detail.value for detail in (error.details or []) if detail.name == "Node") if error else ()
    last = (job.status.attempts or [])[-1:]
    yield from (node for attempt in last for node in attempt.faulty_nodes or [])
    yield from job.status.nodes or [node for attempt in last for node in attempt.nodes]


def _counted(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def as_object(found: Explanation) -> Object:
    """The explanation for programs."""
    return {
        "advice": list(found.advice),
        "details": list(found.details),
        "story": [{"time": moment.time.astimezone(UTC).isoformat(), "what": moment.what} for moment in found.story],
        "summary": found.summary,
    }


def as_text(result: Object) -> str:
    """The explanation of `as_object` for people."""
    story = [f"  {moment['time'][:19].replace('T', ' ')}  {moment['what']}" for moment in result["story"]]
    advice = [f"  {text}" for text in result["advice"]]
    details = [f"  {line}" for text in result["details"] for line in text.splitlines()]
    happened = ["What happened (UTC):", *story]
    parts = [[result["summary"], *details], happened, ["What to do:", *advice] if advice else []]
    return "\n\n".join("\n".join(part) for part in parts if part)
