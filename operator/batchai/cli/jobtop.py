"""`batchai job top`: what a running job uses on each of its nodes."""

import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from io import BytesIO

from batchai.api.job import Job
from batchai.cli import arguments, lookup
from batchai.cli.arguments import Group
from batchai.cli.job import job_path
from batchai.cli.jobstream import names_of
from batchai.cli.kube import Kube, Object
from batchai.cli.lookup import JOB
from batchai.cli.measurement import COMMAND, NVIDIA_SMI_SECONDS, Measurement, parse
from batchai.cli.node import container_runs, index_of, node_of, pods_of, without_container
from batchai.cli.output import Row
from batchai.cli.session import Session
from batchai.errors import BatchAIError, KubeApiError
from batchai.plan.node_pod import JOB_CONTAINER

ANSWER_SECONDS = 15.0
"""How long nodes may take to answer; a lost one never does."""


def register(jobs: Group) -> None:
    """Adds the command to those of jobs."""
    parser = jobs.command("top", "Show what a running job uses on each of its nodes.", top, _rows, watch=True)
    arguments.own_name(parser, "job", "-j", "--job")
    arguments.experiment(parser)


def top(args: Namespace, session: Session) -> list[Object]:
    """What each node of a job uses, master first; nodes that do not answer are told of and have nulls.

    Raises Problem for a job without a running container, and KubeApiError where the user may not exec in pods.
    """
    item = lookup.find(session, JOB, job_path(args, args.name))
    pods = pods_of(session, item)
    if not any(map(container_runs, pods)):
        raise without_container(item, args.name)
    inquiries = [_Inquiry(session.kube, pod) for pod in pods]
    for inquiry in inquiries:
        inquiry.start()
    deadline = session.clock() + ANSWER_SECONDS
    for inquiry in inquiries:
        inquiry.join(max(deadline - session.clock(), 0))
    measured = [(inquiry, parse(inquiry.output)) for inquiry in inquiries]
    # In one piece, so that --watch does not repeat it.
    if faults := [fault for inquiry, what in measured for fault in _faults(inquiry, what, args.name)]:
        session.say("\n".join(faults))
    roles = names_of(Job.model_validate(item))
    return [_node(inquiry.pod, roles, what) for inquiry, what in measured]


class _Inquiry(threading.Thread):
    """Measures a pod's container, in a thread that the program does not wait for at its end.

    error: what kept it from its end, None when it is there.
    """

    def __init__(self, kube: Kube, pod: Object) -> None:
        super().__init__(daemon=True)
        self.pod = pod
        self.error: BatchAIError | None = BatchAIError(f"it took longer than {ANSWER_SECONDS:.0f} s")
        self._kube = kube
        self._written = BytesIO()

    def run(self) -> None:
        """Runs the command in the pod."""
        if not container_runs(self.pod):
            self.error = BatchAIError("its container does not run")
            return
        metadata = self.pod["metadata"]
        try:
            code = self._kube.execute(
                metadata["namespace"], metadata["name"], JOB_CONTAINER, COMMAND, self._written, BytesIO()
            )
            self.error = BatchAIError(f"the command in its container ended with exit code {code}") if code else None
        except BatchAIError as error:
            self.error = error

    @property
    def output(self) -> str:
        """What the command has written so far."""
        return self._written.getvalue().decode(errors="replace")


def _faults(inquiry: _Inquiry, measured: Measurement, name: str) -> Iterator[str]:
    """Sentences about what a node did not tell. Raises a refusal, which concerns all nodes."""
    node = node_of(inquiry.pod)
    match inquiry.error:
        case KubeApiError(status=401 | 403):
            raise inquiry.error
        case BatchAIError():
            yield f"Node '{node}' did not answer: {inquiry.error}. What happened: batchai job explain -n {name}"
    if measured.nvidia_smi:
        yield (
            f"nvidia-smi failed on node '{node}' (exit code {measured.nvidia_smi}) or took longer than"
            f" {NVIDIA_SMI_SECONDS} s. What it says: batchai job node exec -j {name} -n {node} --exec nvidia-smi"
        )


def _node(pod: Object, roles: list[str], measured: Measurement) -> Object:
    """A node as it is printed."""
    return {
        "nodeId": node_of(pod),
        "index": index_of(pod),
        "role": roles[index_of(pod)],
        "cpuCores": measured.cpu,
        "memoryUsedBytes": measured.memory_used,
        "memoryLimitBytes": measured.memory_limit,
        "gpus": measured.gpus
        and [
            {
                "index": gpu.index,
                "utilizationPercent": gpu.utilization,
                "memoryUsedBytes": gpu.memory_used,
                "memoryTotalBytes": gpu.memory_total,
            }
            for gpu in measured.gpus
        ],
    }


def _rows(node: Object) -> list[Row]:
    """A row for each GPU, or one; what belongs to the node stands in the first."""
    own = {
        "CPU": _figure(node["cpuCores"], "{:.2f}".format),
        "Memory": _figure(node["memoryUsedBytes"], _size),
        "Limit": _figure(node["memoryLimitBytes"], _size),
    }
    return [
        {
            "Node": node["nodeId"],
            "Role": node["role"],
            **(own if number == 0 else dict.fromkeys(own, "")),
            "GPU": _figure(gpu.get("index")),
            "GPU %": _figure(gpu.get("utilizationPercent")),
            "GPU memory": _figure(gpu.get("memoryUsedBytes"), _size),
            "GPU total": _figure(gpu.get("memoryTotalBytes"), _size),
        }
        for number, gpu in enumerate(node["gpus"] or [{}])
    ]


def _figure(value: float | None, text: Callable[[float], str] = str) -> str:
    return "-" if value is None else text(value)


def _size(count: float) -> str:
    """Bytes in binary units: `512 B`, `1.5 GiB`."""
    if count < 1024:
        return f"{count} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
