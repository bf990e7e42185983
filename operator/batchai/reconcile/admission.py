"""Acceptance of new Jobs: whatever is written of one first says it too, so that it costs no write of its own."""

from datetime import datetime
from typing import TypeGuard

from batchai.api import names
from batchai.api.job import Job
from batchai.errors import SpecError
from batchai.kube.client import JOBS
from batchai.kube.store import Object, ObjectStore
from batchai.plan.directories import JobIdentity
from batchai.plan.pods import check
from batchai.reconcile.context import Context
from batchai.reconcile.writes import adopted, labels_below
from batchai.settings import Settings
from batchai.status import job as life


def experiment_of(job: Object, objects: ObjectStore) -> Object | None:
    """The Experiment that a Job names, if it is there."""
    return objects.get("Experiment", job["metadata"]["namespace"], job["spec"]["experiment"])


def admits(experiment: Object | None) -> TypeGuard[Object]:
    """The Experiment is there and belongs to its Workspace, so that its jobs' Azure names are known."""
    return experiment is not None and names.LABEL_WORKSPACE in experiment["metadata"].get("labels", {})


def admitted(job: Job, experiment: Object | None, subscription: str, now: datetime) -> Job:
    """A job whose Experiment admits it, with the status of an accepted one; any other as it is.

    Its directories have the Azure names, which its labels will tell when it belongs to the Experiment.
    """
    if not admits(experiment) or job.status.job_output_directory_path_segment is not None:
        return job
    metadata = job.metadata
    labels = labels_below(experiment, metadata.name, metadata.labels)
    identity = JobIdentity(
        subscription=subscription,
        resource_group=metadata.namespace,
        workspace=labels[names.LABEL_WORKSPACE],
        experiment=labels[names.LABEL_EXPERIMENT],
        job=labels[names.LABEL_NAME],
        uid=metadata.uid,
    )
    return job.model_copy(update={"status": life.accepted(job, identity, job.spec.tool_type, now)})


async def joined(context: Context, job: Object) -> Object:
    """Makes a Job its Experiment's, if that admits it; the Job then."""
    experiment = experiment_of(job, context.objects)
    return await adopted(context, JOBS, job, experiment) if admits(experiment) else job


def stored_identity(job: Job) -> JobIdentity:
    """The identity of a job that was admitted."""
    assert job.status.job_output_directory_path_segment is not None  # noqa: S101 - admitted jobs have it
    return JobIdentity.of_segment(job.status.job_output_directory_path_segment)


def check_admitted(job: Job, settings: Settings) -> None:
    """Raises SpecError if pods could not be planned for a job that was admitted."""
    check(
        job,
        stored_identity(job),
        vault_identity=settings.vault_identity,
        command_image=settings.mount_command_image_of(job.metadata.namespace),
    )


def is_valid(job: Job, settings: Settings) -> bool:
    """Whether pods could be planned for a job that was admitted."""
    try:
        check_admitted(job, settings)
    except SpecError:
        return False
    return True
