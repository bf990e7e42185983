"""Acceptance of new Jobs: whatever is written of one first says it too, so that it costs no write of its own."""

from datetime import datetime

from batchai.api import names
from batchai.api.job import Job
from batchai.kube.store import Object
from batchai.plan.directories import JobIdentity
from batchai.reconcile.writes import labels_below
from batchai.status import job as life


def admitted(job: Job, experiment: Object | None, subscription: str, now: datetime) -> Job:
    """A job whose Experiment is there, with the status of an accepted one; any other as it is.

    Its directories have the Azure names, which its labels will tell when it belongs to the Experiment.
    """
    if experiment is None or job.status.job_output_directory_path_segment is not None:
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
