"""What a container uses: the script in this machine's busybox, over files as both versions of cgroups have them."""

import shutil
import subprocess
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchai.cli.measurement import COMMAND, Gpu, Measurement, parse

GIB = 1 << 30
V2 = f"""\
cpu.stat:usage_usec 1000000
cpu.stat:user_usec 900000
/proc/uptime:100.50 380.11
cpu.stat:usage_usec 4000000
cpu.stat:user_usec 3800000
/proc/uptime:102.50 384.00
memory.stat:anon 12345
memory.stat:inactive_file {GIB}
memory.stat:active_file 0
memory.current:{3 * GIB}
memory.max:{8 * GIB}
"""
V1 = f"""\
cpuacct/cpuacct.usage:1000000000
/proc/uptime:100.50 380.11
cpuacct/cpuacct.usage:1500000000
/proc/uptime:101.50 384.00
memory/memory.stat:inactive_file 1
memory/memory.stat:total_inactive_file {2 * GIB}
memory/memory.usage_in_bytes:{3 * GIB}
memory/memory.limit_in_bytes:{8 * GIB}
"""
NOTHING = Measurement(None, None, None, None, None)


@pytest.mark.parametrize(
    ("output", "measured"),
    [(V2, Measurement(1.5, 2 * GIB, 8 * GIB, None, None)), (V1, Measurement(0.5, GIB, 8 * GIB, None, None))],
)
def test_both_versions_of_cgroups(output: str, measured: Measurement) -> None:
    assert parse(output) == measured


@pytest.mark.parametrize(
    "output",
    [
        V2.replace(f"memory.max:{8 * GIB}", "memory.max:max"),
        V1.replace(f"limit_in_bytes:{8 * GIB}", "limit_in_bytes:9223372036854771712"),
    ],
)
def test_memory_without_a_limit(output: str) -> None:
    measured = parse(output)
    assert measured.memory_used is not None
    assert measured.memory_limit is None


def test_zero_is_a_figure() -> None:
    idle = V2.replace("4000000", "1000000").replace(f"current:{3 * GIB}", "current:0")
    assert parse(idle) == Measurement(0.0, 0, 8 * GIB, None, None)
    assert parse(V2.replace(f"inactive_file {GIB}", "inactive_file 0")).memory_used == 3 * GIB


def test_gpus() -> None:
    gpus = "0, 97, 10240, 16384\n1, [N/A], 0, 16384\n10, [Not Supported], [N/A], [Unknown Error]\n"
    assert parse(V2 + gpus).gpus == (
        Gpu(0, 97, 10 * GIB, 16 * GIB),
        Gpu(1, None, 0, 16 * GIB),
        Gpu(10, None, None, None),
    )


@pytest.mark.parametrize(
    "output",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver, sorry, it, is so.\n",
        "cpu.stat:usage_usec 1\n/proc/uptime:1.00 1.00\n",
        "cpu.stat:usage_usec 1\n/proc/uptime:1.00 1.00\ncpu.stat:usage_usec 2\n/proc/uptime:1.00 1.00\n",
        "memory.current:lots\nmemory.stat:inactive_file\n: 3\n:\n",
        "1, 2\nx, 1, 2, 3\n1, 2, 3, 4, 5\n",
        f"memory.current:{'9' * 5000}\n",
        "memory.current:1234",  # perhaps the beginning of 123456
    ],
)
def test_what_is_not_understood_is_left_out(output: str) -> None:
    assert parse(output) == NOTHING


@given(st.text() | st.text("cpu.statmeory:/x0123456789, \n[]"))
def test_any_output_has_an_answer(output: str) -> None:
    parse(output)


@pytest.mark.parametrize("whole", [V2, V1])
@given(length=st.integers(0, max(len(V1), len(V2))))
def test_output_that_breaks_off_has_no_wrong_figures(whole: str, length: int) -> None:
    for part, right in zip(astuple(parse(whole[:length])), astuple(parse(whole)), strict=True):
        assert part in (None, right)


# --- the script -----------------------------------------------------------------------------------------------


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """The folders `cgroup`, in the place of /sys/fs/cgroup, and `bin`, which is the PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "cgroup").mkdir()
    return tmp_path


def measure(container: Path) -> Measurement:
    """What the command's output says."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is missing: run 'make unit', or tests/kind/require.sh unit"
    script = COMMAND[-1]
    for there, here in (
        ("/opt/batchai/busybox", busybox),
        ("/sys/fs/cgroup", str(container / "cgroup")),
        ("sleep 1", "sleep 0.1"),
        ("timeout 5", "timeout 1"),
        (":/usr/bin", ""),  # this machine may have GPUs
    ):
        assert there in script
        script = script.replace(there, here)
    environment = {"PATH": str(container / "bin")}
    done = subprocess.run([busybox, *COMMAND[1:-1], script], env=environment, capture_output=True, check=True)
    return parse(done.stdout.decode())


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_script_reads_version_2(container: Path) -> None:
    cgroup = container / "cgroup"
    (cgroup / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\n")
    (cgroup / "memory.current").write_text("5000\n")
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "memory.stat").write_text("anon 1\ninactive_file 1000\n")
    assert measure(container) == Measurement(0.0, 4000, None, None, None)


def test_the_script_reads_version_1(container: Path) -> None:
    for name, text in {
        "cpuacct/cpuacct.usage": "5\n",
        "memory/memory.usage_in_bytes": "5000\n",
        "memory/memory.limit_in_bytes": "9000\n",
        "memory/memory.stat": "total_inactive_file 1000\n",
    }.items():
        (container / "cgroup" / name).parent.mkdir(exist_ok=True)
        (container / "cgroup" / name).write_text(text)
    assert measure(container) == Measurement(0.0, 4000, 9000, None, None)


def test_the_script_without_any_figures(container: Path) -> None:
    assert measure(container) == NOTHING


def test_the_script_asks_nvidia_smi(container: Path) -> None:
    program(container / "bin" / "nvidia-smi", 'echo "$*" >"${0%/*}/asked"; echo "0, 5, 1024, 2048"')
    assert measure(container) == Measurement(None, None, None, (Gpu(0, 5, GIB, 2 * GIB),), 0)
    assert (container / "bin" / "asked").read_text().split() == [
        "--format=csv,noheader,nounits",
        "--query-gpu=index,utilization.gpu,memory.used,memory.total",
    ]


@pytest.mark.parametrize(("text", "code"), [("echo No devices were found; exit 6", 6), ("exec /bin/sleep 20", 143)])
def test_the_script_with_an_nvidia_smi_that_fails_or_hangs(container: Path, text: str, code: int) -> None:
    program(container / "bin" / "nvidia-smi", text)
    assert measure(container) == replace(NOTHING, nvidia_smi=code)
