"""tensorFlowSettings: a single process, or parameter servers and workers (reference §3.1).

The master is worker 0. Ports count up from 2222 on each node, parameter servers first.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from batchai.api.job import JobSpec, TensorFlowSettings
from batchai.errors import SpecError
from batchai.toolkits import shell
from batchai.toolkits.base import Allocation, Launch, Process, Toolkit

FIRST_PORT = 2222


@dataclass(frozen=True)
class _Task:
    """A process of the TensorFlow cluster. kind: ps or worker; index: within its kind; node: where it runs."""

    kind: str
    index: int
    node: int
    address: str

    @property
    def label(self) -> str:
        """What the names of its files say."""
        return f"{'ps' if self.kind == 'ps' else 'wk'}-{self.index}"


def launch(job: JobSpec, nodes: Allocation) -> Launch:
    """The master alone, or a cluster when there are several nodes or counts are given."""
    settings = job.tensor_flow_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    environment = {"KERAS_BACKEND": "tensorflow"}
    hosts = nodes.hosts
    if len(hosts) == 1 and settings.worker_count is None and settings.parameter_server_count is None:
        command = _command(settings, settings.master_command_line_args)
        master = Process(command, "worker 0", "stdout-wk-0.txt", "stderr-wk-0.txt", {"AZ_BATCHAI_TASK_INDEX": "0"})
        return Launch(nodes=((master,),), slots=(1,), environment=environment)
    tasks = list(_tasks(settings, nodes))
    environment["AZ_BATCHAI_PS_HOSTS"] = ",".join(task.address for task in tasks if task.kind == "ps")
    environment["AZ_BATCHAI_WORKER_HOSTS"] = ",".join(task.address for task in tasks if task.kind == "worker")
    return Launch(
        nodes=tuple(
            tuple(_process(settings, task, tasks) for task in _master_first(tasks, node)) for node in range(len(hosts))
        ),
        slots=tuple(1 for _ in hosts),
        environment=environment,
    )


def _tasks(settings: TensorFlowSettings, nodes: Allocation) -> Iterator[_Task]:
    hosts = nodes.hosts
    servers = 1 if settings.parameter_server_count is None else settings.parameter_server_count
    workers = settings.worker_count or len(hosts)
    if servers > len(hosts):
        raise SpecError(
            "spec.tensorFlowSettings.parameterServerCount",
            f"{servers} parameter servers need as many nodes, the job has {len(hosts)}",
        )
    if nodes.gpus and workers > nodes.gpus * len(hosts):
        raise SpecError(
            "spec.tensorFlowSettings.workerCount",
            f"{workers} workers need as many GPUs, the job's nodes have {nodes.gpus * len(hosts)}",
        )
    used = [0] * len(hosts)
    for kind, count in (("ps", servers), ("worker", workers)):
        for index in range(count):
            node = index % len(hosts)
            yield _Task(kind, index, node, f"{hosts[node]}:{FIRST_PORT + used[node]}")
            used[node] += 1


def _master_first(tasks: Sequence[_Task], node: int) -> list[_Task]:
    """A node's tasks, workers before parameter servers: worker 0 decides the job's result."""
    return sorted((task for task in tasks if task.node == node), key=lambda task: (task.kind == "ps", task.index))


def _process(settings: TensorFlowSettings, task: _Task, tasks: Sequence[_Task]) -> Process:
    serves = task.kind == "ps"
    if serves:
        arguments = settings.parameter_server_command_line_args
    else:
        arguments = settings.worker_command_line_args if task.index else settings.master_command_line_args
    return Process(
        _command(settings, arguments),
        title=f"{'parameter server' if serves else 'worker'} {task.index}",
        stdout=f"stdout-{task.label}.txt",
        stderr=f"stderr-{task.label}.txt",
        environment={
            "AZ_BATCHAI_TASK_INDEX": str(task.index),
            "TF_CONFIG": json.dumps(_configuration(task, tasks, chief=settings.chief), separators=(",", ":")),
        },
        serves=serves,
    )


def _configuration(own: _Task, tasks: Sequence[_Task], *, chief: bool) -> Mapping[str, object]:
    """TF_CONFIG as the service wrote it; with `chief` as tf.estimator wants it, worker 0 apart from the workers."""

    def place(task: _Task) -> tuple[str, int]:
        if not chief or task.kind == "ps":
            return task.kind, task.index
        return ("worker", task.index - 1) if task.index else ("chief", 0)

    cluster: dict[str, list[str]] = {"chief": []} if chief else {}
    cluster |= {"ps": [], "worker": []}
    for task in tasks:
        cluster[place(task)[0]].append(task.address)
    kind, index = place(own)
    cluster = {name: addresses for name, addresses in cluster.items() if addresses}
    return {"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"}


def _command(settings: TensorFlowSettings, arguments: str | None) -> str:
    return shell.python(settings.python_script_file_path, settings.python_interpreter_path, arguments)


TOOLKIT = Toolkit(settings="tensorFlowSettings", launch=launch)
