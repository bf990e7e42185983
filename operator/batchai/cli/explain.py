"""`batchai job explain`: what happened to a job, in order, and what to do."""

import re
from argparse import Namespace

from batchai.api import names
from batchai.cli import arguments, kube, lookup
from batchai.cli.arguments import Group
from batchai.cli.explanation import as_object, as_text, explanation
from batchai.cli.job import job_path
from batchai.cli.kube import Object
from batchai.cli.lookup import JOB
from batchai.cli.output import Row
from batchai.cli.session import Session


def register(jobs: Group) -> None:
    """Adds the command to those of jobs."""
    parser = jobs.command("explain", "Say why a job waits or failed, and what to do.", explain, _row, text=as_text)
    arguments.own_name(parser, "job", "-j", "--job")
    arguments.experiment(parser)


def explain(args: Namespace, session: Session) -> Object:
    """The story of a job: from its resource, its cluster, its pods, and the events of job and pods."""
    item = lookup.find(session, JOB, job_path(args, args.name))
    uid = item["metadata"]["uid"]
    pods = session.kube.list(kube.PODS, args.resource_group, {names.LABEL_JOB_UID: uid})
    events = session.kube.list(kube.EVENTS, args.resource_group)
    about = [event for event in events if _concerns(event, item)]
    cluster = session.find_named(kube.CLUSTERS, args.resource_group, item["spec"]["cluster"])
    return as_object(explanation(item, cluster, pods, about, session.now()))


def _concerns(event: Object, item: Object) -> bool:
    """The event is about the job or one of its pods, which may be gone; an earlier job may have had the same name."""
    about, job = event.get("involvedObject", {}), item["metadata"]
    if about.get("kind") != "Pod":
        return bool(about.get("uid") == job["uid"])
    of_the_name = re.fullmatch(rf"{re.escape(job['name'])}-\d+-\d+", about.get("name", ""))
    return bool(of_the_name and event["metadata"]["creationTimestamp"] >= job["creationTimestamp"])


def _row(story: Object) -> Row:
    return {"Summary": story["summary"]}
