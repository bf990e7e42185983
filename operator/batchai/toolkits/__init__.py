"""The toolkits of Batch AI, one file each, and their registry.

A toolkit is pure: job in, processes of each node out. A new one is a file beside these and a line below.
"""

from batchai.api.job import JobSpec
from batchai.errors import SpecError
from batchai.toolkits import cntk, custom
from batchai.toolkits.base import Launch, Process, Toolkit

TOOLKITS: dict[str, Toolkit] = {
    toolkit.settings: toolkit
    for toolkit in (
        cntk.TOOLKIT,
        custom.TOOLKIT,
    )
}

__all__ = ["TOOLKITS", "Launch", "Process", "Toolkit", "launch"]


def launch(job: JobSpec) -> Launch:
    """The processes of a job. Raises SpecError for a toolkit or a shape that this version does not run."""
    name, _ = job.toolkit()
    if name not in TOOLKITS:
        raise SpecError(f"spec.{name}", f"this version runs {' and '.join(TOOLKITS)} only")
    if job.node_count != 1:
        raise SpecError("spec.nodeCount", "this version runs jobs on one node only: set it to 1")
    return TOOLKITS[name].launch(job)
