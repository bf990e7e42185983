"""`batchai job file` and `cluster file`: list and stream what a job or a setup task wrote."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from batchai.api import names
from batchai.api.cluster import Cluster
from batchai.api.job import Job
from batchai.cli import accounts, arguments, kube, lookup, reader, shapes
from batchai.cli.arguments import Group
from batchai.cli.follow import Follower
from batchai.cli.job import execution_state, failures, has_ended, job_path
from batchai.cli.kube import Object
from batchai.cli.lookup import CLUSTER, JOB, Path
from batchai.cli.output import Row
from batchai.cli.problems import NotFound
from batchai.cli.session import Session, api_outage
from batchai.errors import BatchAIError, SpecError, StorageError
from batchai.plan.directories import (
    MOUNT_ROOT,
    JobIdentity,
    StorageLocation,
    output_location,
    output_path,
    setup_task_location,
    setup_task_path,
)
from batchai.plan.exports import export_of
from batchai.plan.mounts import UNASKED_EXPORT, Export, Surroundings, cluster_mounts
from batchai.plan.naming import azure_name
from batchai.plan.node_pod import USER
from batchai.plan.outputs import VolumeLocation, file_servers_behind, volume_location
from batchai.plan.pods import all_mounts
from batchai.plan.setup import path_suffix
from batchai.storage.directory import Directory, join

T = TypeVar("T")

DEFAULT_EXPIRY = 60
"""Minutes that a download URL works."""
POLL_SECONDS = 1.0
_QUIET_READS = {"file": 1, "blob": 4}
"""Reads after a job's end that must find nothing new: a blob appears when its writer's cache lets it go."""
_QUIET_VOLUME = 1


def register_for_clusters(clusters: Group) -> None:
    """Adds the command to those of clusters."""
    files = clusters.group("file", "Files that setup tasks wrote.")
    parser = files.command("list", "List the output of a cluster's setup task.", list_of_cluster, _setup_row)
    parser.add_argument("-c", "--cluster", "-n", "--name", dest="cluster", required=True, help="name of the cluster")
    arguments.workspace(parser)
    parser.add_argument("-p", "--path", default=".", help="folder in the output (.)")
    _expiry(parser)


def register_for_jobs(jobs: Group) -> Group:
    """Adds the commands to those of jobs; returns their group, for what else is done with files."""
    files = jobs.group("file", "Files that jobs wrote.")
    parser = files.command("list", "List an output directory, with URLs that download.", list_all, _row)
    output_directory(parser)
    _expiry(parser)
    parser = files.command("stream", "Print a file while it grows, until the job ends.", stream)
    output_directory(parser)
    parser.add_argument("-f", "--file-name", metavar="FILE", required=True, help="the file, as stdout.txt")
    return files


def output_directory(parser: ArgumentParser) -> None:
    """-j, -d and -p: a folder in an output directory of a job."""
    parser.add_argument("-j", "--job", "-n", "--name", dest="job", required=True, help="name of the job")
    arguments.experiment(parser)
    parser.add_argument(
        "-d",
        "--output-directory-id",
        metavar="ID",
        default="stdouterr",
        help="id of an output directory (stdouterr: standard output and logs)",
    )
    parser.add_argument("-p", "--path", default=".", help="folder in the output directory (.)")


def _expiry(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--expiry",
        metavar="MINUTES",
        type=_minutes,
        default=DEFAULT_EXPIRY,
        help="how long the URLs work, 5 to 600 (60)",
    )


def _minutes(text: str) -> int:
    if not text.isdigit() or not 5 <= int(text) <= 600:
        raise ArgumentTypeError("takes 5 to 600 minutes")
    return int(text)


def list_all(args: Namespace, session: Session) -> list[Object]:
    """The direct children of a folder of an output directory (Batch AI reference §2, listOutputFiles)."""
    item = lookup.find(session, JOB, job_path(args, args.job))
    entries = _entries(args, session, output(args, session, item))
    if entries is None:
        session.say(f"Nothing is there: the job is {execution_state(item)}.")
        for line in failures(item):
            session.say(line)
    return entries or []


def list_of_cluster(args: Namespace, session: Session) -> list[Object]:
    """The direct children of a folder of what the setup task of a cluster's nodes wrote."""
    item = lookup.find(session, CLUSTER, Path(args.resource_group, args.workspace, name=args.cluster))
    cluster = Cluster.model_validate(item)
    suffix = path_suffix(lookup.subscription(session), args.workspace, cluster, args.cluster)
    if cluster.status.node_setup is not None:
        suffix = cluster.status.node_setup.setup_task.std_out_err_path_suffix
    entries = _entries(args, session, _setup_output(args, session, cluster, suffix))
    if entries is None:
        session.say("Nothing is there: no node has run the setup task yet.")
    return entries or []


def _entries(args: Namespace, session: Session, output: "Output") -> list[Object] | None:
    """The children of the folder of -p with URLs; None if there is not even the directory itself."""
    expiry = session.now() + timedelta(minutes=args.expiry)
    folder = join(args.path)
    with output.directory as directory:
        try:
            entries = session.patiently(lambda: directory.entries(folder), _busy)
        except StorageError as error:
            if not error.not_found or folder:
                raise
            return None
        return [
            shapes.file(entry, None if entry.is_directory else directory.url(join(folder, entry.name), expiry))
            for entry in entries
        ]


def _busy(error: BatchAIError) -> bool:
    """Storage says when to ask again."""
    return error.retry_after is not None


def stream(args: Namespace, session: Session) -> None:
    """Copies a file to stdout as it grows, until the job ends; what is said about it goes to stderr."""
    item = lookup.find(session, JOB, job_path(args, args.job))
    found = output(args, session, item)
    path = join(args.path, args.file_name)

    def over() -> bool:
        nonlocal item
        current = session.find_named(JOB.resource, args.resource_group, item["metadata"]["name"])
        # A deleted job writes no more either, and another of its name writes elsewhere.
        if current is None or current["metadata"]["uid"] != item["metadata"]["uid"]:
            return True
        item = current
        return has_ended(item)

    with found.directory as directory:
        notices = _Notices(session, directory, path, args.file_name)
        follower = Follower(directory, path, session.out, notices)

        def may_pass(error: BatchAIError) -> bool:
            # Storage that never answered is not out of order but wrong (its key, its name): said at once.
            return api_outage(error) or (isinstance(error, StorageError) and follower.found and not error.denied)

        def patiently(action: Callable[[], T], /) -> T:
            return session.patiently(action, may_pass)

        follower.follow(
            over,
            lambda: session.sleep(POLL_SECONDS) if follower.found else session.pause(POLL_SECONDS, notices.waiting),
            quiet=found.quiet,
            patiently=patiently,
        )
    if not follower.found:
        why = "\n".join(failures(item))
        raise NotFound(f'The file "{args.file_name}" not found for the completed job.', why)


class _Notices:
    """az's words about a file that is streamed (Batch AI reference §8)."""

    def __init__(self, session: Session, directory: Directory, path: str, name: str) -> None:
        self._session = session
        self._directory = directory
        self._path = path
        self._name = name
        self._waiting = False

    def missing(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._session.say(f'The file "{self._name}" not found. Waiting for the job to generate it.')

    @property
    def waiting(self) -> str:
        return f'Waiting for the file "{self._name}"'

    def found(self) -> None:
        url = self._directory.url(self._path, self._session.now() + timedelta(minutes=DEFAULT_EXPIRY))
        self._session.say(f'File found with URL "{url}". Start streaming' if url else "File found. Start streaming")

    def restarted(self) -> None:
        self._session.say(f'The file "{self._name}" was written anew. Streaming it from its beginning.')


@dataclass(frozen=True)
class Output:
    """An output directory to be read, and how many reads after its writer's end must find nothing new."""

    directory: AbstractContextManager[Directory]
    quiet: int


def output(args: Namespace, session: Session, item: Object) -> Output:
    """Where the output directory of the arguments lies: in Azure storage, or on a volume that a pod reads.

    Raises SpecError if the job has no such directory, or if it is on none of its mounts (reference §1.5).
    """
    job = Job.model_validate(item)
    found = session.find_named(CLUSTER.resource, args.resource_group, job.spec.cluster)
    cluster = Cluster.model_validate(found).spec if found else None
    identity, directory_id = _identity(session, item), args.output_directory_id
    location = output_location(job.spec, identity, directory_id, cluster)
    if location is not None:
        return _in_storage(args, session, location)
    path = output_path(job.spec, identity, directory_id)
    restricted = job.spec.pod_security == "restricted"
    servers = {
        *file_servers_behind(path, job.spec.mount_volumes, identity.mount_root),
        *file_servers_behind(path, cluster.shared_volumes if cluster else None, MOUNT_ROOT),
    }

    def locate(*, lives: bool) -> VolumeLocation | None:
        mounts = all_mounts(job, identity, cluster, _surroundings(args, session, servers))
        return volume_location(path, mounts, lives=lives, restricted=restricted)

    if locate(lives=True) is None:
        if found is None and path.startswith(f"{MOUNT_ROOT}/"):
            raise SpecError(
                "outputDirectories",
                f"'{directory_id}' lies at {path}, in what cluster '{job.spec.cluster}' mounted, and that was deleted: "
                "read it where it is stored, or create the cluster again",
            )
        raise SpecError(
            "outputDirectories", f"'{directory_id}' lies at {path}, which is not on a mounted file system: it is gone"
        )
    look = partial(_place_of_job, args, session, item["metadata"], locate)
    return _on_volume(args, session, look, USER if restricted else None)


def _place_of_job(
    args: Namespace, session: Session, metadata: Object, locate: Callable[..., VolumeLocation | None]
) -> reader.Place | None:
    """On the node where the job writes, or where another one has its claim; else anywhere; None before its pods run.

    A reader that came first would bind or hold a volume where the job's pods cannot have it.
    """
    group = args.resource_group
    current = session.find_named(JOB.resource, group, metadata["name"])
    lives = current is not None and current["metadata"]["uid"] == metadata["uid"] and not has_ended(current)
    pods = session.kube.list(kube.PODS, group, {names.LABEL_JOB_UID: metadata["uid"]})
    running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    location = locate(lives=lives)
    if location is None or (lives and not running):
        return None
    claim = location.source.get("persistentVolumeClaim", {}).get("claimName")
    if claim and not running:
        running = [pod for pod in session.kube.list(kube.PODS, group) if _has_claim(pod, claim)]
    node = running[0]["spec"]["nodeName"] if running else None
    images = (pod["spec"]["initContainers"][0]["image"] for pod in pods if pod["spec"].get("initContainers"))
    return reader.Place(location, node, next(images, None))


def _has_claim(pod: Object, claim: str) -> bool:
    volumes = pod["spec"].get("volumes", [])
    return pod.get("status", {}).get("phase") == "Running" and any(
        volume.get("persistentVolumeClaim", {}).get("claimName") == claim for volume in volumes
    )


def _setup_output(args: Namespace, session: Session, cluster: Cluster, suffix: str) -> Output:
    location = setup_task_location(cluster.spec, suffix)
    if location is not None:
        return _in_storage(args, session, location)
    path = setup_task_path(cluster.spec, suffix)
    servers = file_servers_behind(path, cluster.spec.shared_volumes, MOUNT_ROOT)
    mounts = cluster_mounts(cluster.spec, _surroundings(args, session, servers))
    volume = volume_location(path, mounts, lives=False, restricted=False)
    if volume is None:
        raise SpecError(
            "nodeSetup.setupTask.stdOutErrPathPrefix", f"{path} is not on a file system that the cluster mounts"
        )
    return _on_volume(args, session, lambda: reader.Place(volume))


def _in_storage(args: Namespace, session: Session, location: StorageLocation) -> Output:
    known = accounts.given(session.environ).accounts
    account = accounts.account_of(session, args.resource_group, location.account, location.secret_name, known)
    return Output(session.directory(location, account), _QUIET_READS[location.kind])


def _on_volume(
    args: Namespace, session: Session, look: Callable[[], reader.Place | None], user: int | None = None
) -> Output:
    return Output(closing(reader.VolumeDirectory(session, args.resource_group, look, user)), _QUIET_VOLUME)


def _surroundings(args: Namespace, session: Session, servers: Collection[str]) -> Surroundings:
    """With the exports of these FileServers; others do not matter, and may be gone. No mount command is run."""
    group = args.resource_group

    def export(identifier: str) -> Export:
        if identifier not in servers:
            return UNASKED_EXPORT
        return export_of(session.kube.list(kube.FILE_SERVERS, group), group, identifier)

    return Surroundings(export=export, command_image="")


def _identity(session: Session, item: Object) -> JobIdentity:
    """A job's identity: as the operator wrote it into the status, before that as it will."""
    segment = item.get("status", {}).get("jobOutputDirectoryPathSegment")
    if segment:
        return JobIdentity.of_segment(segment)
    metadata = item["metadata"]
    return JobIdentity(
        lookup.subscription(session),
        metadata["namespace"],
        shapes.label(item, names.LABEL_WORKSPACE),
        shapes.label(item, names.LABEL_EXPERIMENT),
        azure_name(item),
        metadata["uid"],
    )


def _row(file: dict[str, Any]) -> Row:
    return {
        "Name": file["name"],
        "Type": file["fileType"],
        "Size": file["contentLength"],
        "Modified": file["lastModified"],
    }


def _setup_row(file: dict[str, Any]) -> Row:
    return {"Name": file["name"], "Is directory": file["isDirectory"], "Size": file["contentLength"]}
