"""What a container uses: the script that measures it from inside, and what the script's output says. Pure.

From inside, so that whoever may exec in a pod needs nothing else: no metrics server, no agent, no rights on nodes.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batchai.toolkits.base import LAUNCHER_PATH

NVIDIA_SMI_SECONDS = 5
"""How long nvidia-smi may take; with a sick driver it can hang."""
_SCRIPT = f"""\
busybox={LAUNCHER_PATH}/busybox
cd /sys/fs/cgroup
show() {{ $busybox grep -sH . "$@"; }}
cpu() {{ show cpu.stat cpuacct/cpuacct.usage /proc/uptime; }}
cpu
$busybox sleep 1
cpu
show memory.stat memory.current memory.max
show memory/memory.stat memory/memory.usage_in_bytes memory/memory.limit_in_bytes
PATH=$PATH:/usr/bin
command -v nvidia-smi >/dev/null || exit 0
$busybox timeout {NVIDIA_SMI_SECONDS} nvidia-smi --format=csv,noheader,nounits \
 --query-gpu=index,utilization.gpu,memory.used,memory.total
echo "nvidia-smi:$?"
"""
COMMAND = (f"{LAUNCHER_PATH}/busybox", "sh", "-c", _SCRIPT)
"""Measures the container that it runs in, for a second; exits with 0 whatever it finds."""

_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
_FIGURE = re.compile(rf"^(?P<file>[^:\n]+):(?P<key>[a-z_]+ )?(?P<number>{_NUMBER})\s", re.MULTILINE)
"""Both patterns want what follows a number, too: where output breaks off it may be the beginning of a larger one."""
_GPU = re.compile(r"^([0-9]{1,9}),([^,\n]*),([^,\n]*),([^,\n]*)\n", re.MULTILINE)
_NO_LIMIT = 1 << 62
"""cgroup v1 writes no limit as the largest number of whole pages, which is above this."""
_MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """A GPU. utilization: percent of the time; memory: bytes; None for what it does not tell."""

    index: int
    utilization: int | None
    memory_used: int | None
    memory_total: int | None


@dataclass(frozen=True)
class Measurement:
    """What a container uses; None for what is not known.

    cpu: cores; memory: bytes, the working set as the kubelet has it; memory_limit: None also where there is none.
    nvidia_smi: its exit code.
    """

    cpu: float | None
    memory_used: int | None
    memory_limit: int | None
    gpus: tuple[Gpu, ...] | None
    nvidia_smi: int | None


def parse(output: str) -> Measurement:
    """What COMMAND printed, or the beginning of it. What is not understood is left out; raises nothing."""
    figures = _figures(output)
    used = _first(figures, "memory.current", "memory/memory.usage_in_bytes")
    reclaimable = _first(figures, "memory.stat inactive_file", "memory/memory.stat total_inactive_file") or 0
    limit = _first(figures, "memory.max", "memory/memory.limit_in_bytes")
    code = _first(figures, "nvidia-smi")
    return Measurement(
        cpu=_cores(figures),
        memory_used=None if used is None else int(max(used - reclaimable, 0)),
        memory_limit=None if limit is None or limit >= _NO_LIMIT else int(limit),
        gpus=tuple(_gpus(output)) or None,
        nvidia_smi=None if code is None else int(code),
    )


def _figures(output: str) -> Mapping[str, list[float]]:
    """The numbers by `file` or `file key`, each as often as its file was read."""
    figures = defaultdict(list)
    for line in _FIGURE.finditer(output):
        name = f"{line['file']} {line['key'] or ''}".rstrip()
        figures[name].append(float(line["number"]))
    return figures


def _first(figures: Mapping[str, list[float]], *names: str) -> float | None:
    return next((figures[name][0] for name in names if name in figures), None)


def _cores(figures: Mapping[str, list[float]]) -> float | None:
    """Seconds of processors per second, between the two times that both were read."""
    for name, per_second in (("cpu.stat usage_usec", 1e6), ("cpuacct/cpuacct.usage", 1e9)):
        match figures.get(name), figures.get("/proc/uptime"):
            case [before, after], [began, ended] if ended > began:
                # The uptime has hundredths of a second: more digits would not be true.
                return round((after - before) / per_second / (ended - began), 2)
    return None


def _gpus(output: str) -> Iterator[Gpu]:
    for index, utilization, used, total in _GPU.findall(output):
        yield Gpu(int(index), _whole(utilization), _whole(used, _MIB), _whole(total, _MIB))


def _whole(text: str, unit: int = 1) -> int | None:
    """A number of nvidia-smi's; None for what stands in its place, as `[N/A]` or `[Not Supported]`."""
    number = text.strip()
    return int(float(number) * unit) if re.fullmatch(_NUMBER, number) else None
