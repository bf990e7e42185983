"""tensorFlowSettings: a single process, or parameter servers and workers (reference §3.1).

The master is worker 0. Ports count up from 2222 on each node, parameter servers first.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batchai.api.job import JobSpec, TensorFlowSettings
from batchai.errors import SpecError
from batchai.toolkits import shell
from batchai.toolkits.base import Launch, Process, Toolkit

FIRST_PORT = 2222


@dataclass(frozen=True)
class _Task:
    """A process of the TensorFlow cluster. kind: ps or worker; index: within its kind; node: where it runs."""

    kind: str
    index: int
    node: int
    address: str


def launch(job: JobSpec, hosts: Sequence[str]) -> Launch:
    """The master alone, or a cluster when there are several nodes or counts are given."""
    settings = job.tensor_flow_settings
    assert settings is not None  # noqa: S101 - the registry chose this toolkit by the field
    environment = {"KERAS_BACKEND": "tensorflow"}
    if len(hosts) == 1 and settings.worker_count is None and settings.parameter_server_count is None:
        command = _command(settings, settings.master_command_line_args)
        return Launch(nodes=((Process(command, "stdout-wk-0.txt", "stderr-wk-0.txt"),),), environment=environment)
    tasks = list(_tasks(settings, hosts))
    cluster = {
        "ps": [task.address for task in tasks if task.kind == "ps"],
        "worker": [task.address for task in tasks if task.kind == "worker"],
    }
    environment["AZ_BATCHAI_PS_HOSTS"] = ",".join(cluster["ps"])
    environment["AZ_BATCHAI_WORKER_HOSTS"] = ",".join(cluster["worker"])
    return Launch(
        nodes=tuple(
            tuple(_process(settings, task, cluster) for task in _master_first(tasks, node))
            for node in range(len(hosts))
        ),
        environment=environment,
    )


def _tasks(settings: TensorFlowSettings, hosts: Sequence[str]) -> Iterator[_Task]:
    servers = 1 if settings.parameter_server_count is None else settings.parameter_server_count
    if servers > len(hosts):
        raise SpecError(
            "spec.tensorFlowSettings.parameterServerCount",
            f"{servers} parameter servers need as many nodes, the job has {len(hosts)}",
        )
    used = [0] * len(hosts)
    for kind, count in (("ps", servers), ("worker", settings.worker_count or len(hosts))):
        for index in range(count):
            node = index % len(hosts)
            yield _Task(kind, index, node, f"{hosts[node]}:{FIRST_PORT + used[node]}")
            used[node] += 1


def _master_first(tasks: Sequence[_Task], node: int) -> list[_Task]:
    """A node's tasks, workers before parameter servers: worker 0 decides the job's result."""
    return sorted((task for task in tasks if task.node == node), key=lambda task: (task.kind == "ps", task.index))


def _process(settings: TensorFlowSettings, task: _Task, cluster: dict[str, list[str]]) -> Process:
    if task.kind == "ps":
        arguments, label = settings.parameter_server_command_line_args, "ps"
    else:
        label = "wk"
        arguments = settings.worker_command_line_args if task.index else settings.master_command_line_args
    configuration = {"cluster": cluster, "task": {"type": task.kind, "index": task.index}, "environment": "cloud"}
    return Process(
        _command(settings, arguments),
        stdout=f"stdout-{label}-{task.index}.txt",
        stderr=f"stderr-{label}-{task.index}.txt",
        environment={
            "AZ_BATCHAI_TASK_INDEX": str(task.index),
            "TF_CONFIG": json.dumps(configuration, separators=(",", ":")),
        },
    )


def _command(settings: TensorFlowSettings, arguments: str | None) -> str:
    return shell.python(settings.python_script_file_path, settings.python_interpreter_path, arguments)


TOOLKIT = Toolkit(settings="tensorFlowSettings", launch=launch)
