"""Acceptance of new Jobs: whatever is written of one first says it too, so that it costs no write of its own."""

from datetime import datetime

from batchai.api import names
from batchai.api.job import Job
from batchai.plan.directories import JobIdentity
from batchai.status import job as life

_IDENTITY = {names.LABEL_WORKSPACE, names.LABEL_EXPERIMENT, names.LABEL_NAME}


def admitted(job: Job, subscription: str, now: datetime) -> Job:
    """A job that belongs to its Experiment, with the status of an accepted one; any other as it is.

    The labels with the Azure names that its directories are made from come with the Experiment.
    """
    labels = job.metadata.labels
    belongs = any(owner.kind == "Experiment" for owner in job.metadata.owner_references)
    if job.status.job_output_directory_path_segment is not None or not belongs or not labels.keys() >= _IDENTITY:
        return job
    identity = JobIdentity(
        subscription=subscription,
        resource_group=job.metadata.namespace,
        workspace=labels[names.LABEL_WORKSPACE],
        experiment=labels[names.LABEL_EXPERIMENT],
        job=labels[names.LABEL_NAME],
        uid=job.metadata.uid,
    )
    return job.model_copy(update={"status": life.accepted(job, identity, job.spec.tool_type, now)})
