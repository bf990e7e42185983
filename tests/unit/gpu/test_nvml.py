"""The real nvidia-ml-py in its process, against a library of our own that answers what a file says."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.gpu import stand_in

from batchai.gpu.probe import NvmlProbe
from batchai.gpu.snapshot import Failure, Gpu, Snapshot

WELL = {"row_remap_pending": False, "row_remap_failed": False, "page_retirement_pending": False, "slowed_down": False}
HANGS = Snapshot(failure=Failure.DRIVER_HANGS, detail="the driver has not answered within 1 s")


@dataclass
class Machine:
    """A machine whose GPUs are what `has` says, and the probe of it."""

    state: Path
    probe: NvmlProbe

    def has(self, *lines: str) -> None:
        fresh = self.state.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.rename(self.state)

    async def read(self, *lines: str) -> Snapshot:
        self.has(*lines)
        return await self.probe.read()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in.build(tmp_path_factory.mktemp("nvml")).parent


@pytest.fixture
async def machine(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("NVML_STAND_IN", str(tmp_path / "gpus"))
    machine = Machine(tmp_path / "gpus", NvmlProbe(20.0))
    yield machine
    await machine.probe.close()


def gpu(index: int = 0, **differs: object) -> Gpu:
    values: dict[str, object] = {"ecc_errors": 0, "memory_used": 0, **WELL, **differs}
    return Gpu(index, f"GPU-{index:08d}", **values)  # type: ignore[arg-type]


async def test_gpus_that_are_well(machine: Machine) -> None:
    assert await machine.read("count 0 2") == Snapshot((gpu(0), gpu(1)))


@pytest.mark.parametrize(
    ("lines", "differs"),
    [
        (["ecc 0 3"], {"ecc_errors": 3}),
        (["pending 0 1"], {"row_remap_pending": True}),
        (["failed 0 1"], {"row_remap_failed": True}),
        (["retiring 0 1"], {"page_retirement_pending": True}),
        (["clocks 0 8"], {"slowed_down": True}),
        (["clocks 0 64"], {"slowed_down": True}),
        (["clocks 0 128"], {"slowed_down": True}),
        (["clocks 0 36"], {"slowed_down": False}),  # the driver's own limits of power and temperature
        (["process 0 41", "process 0 42"], {"processes": (41, 42)}),
        (["memory 0 300"], {"memory_used": 300 * 1024 * 1024}),
        (["ecc 0 -1", "clocks 0 -1", "process 0 -1"], {"ecc_errors": None, "slowed_down": None}),
        (["retiring 0 -1", "memory 0 -1"], {"page_retirement_pending": None, "memory_used": None}),
        (["pending 0 -1"], {"row_remap_pending": None, "row_remap_failed": None}),
    ],
)
async def test_what_is_wrong_is_read(machine: Machine, lines: Iterable[str], differs: dict[str, object]) -> None:
    assert await machine.read("count 0 2", *lines) == Snapshot((gpu(0, **differs), gpu(1)))


async def test_a_gpu_that_does_not_answer_keeps_its_place(machine: Machine) -> None:
    lost, fine = (await machine.read("count 0 2", "error 0 15")).gpus
    assert (lost, fine) == (Gpu(0, fault="GPU is lost"), gpu(1))
    assert (await machine.read("count 0 2")).gpus == (gpu(0), gpu(1))


async def test_an_older_driver_lacks_questions(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in.build(tmp_path, "-DWITHOUT_REMAP").parent))
    assert await machine.read("count 0 1") == Snapshot((gpu(row_remap_pending=None, row_remap_failed=None),))


async def test_an_xid_is_told_once_and_only_if_it_came_later(machine: Machine) -> None:
    before = ("count 0 2", "xid 1 13")
    assert await machine.read(*before) == Snapshot((gpu(0), gpu(1)))
    after = (*before, "xid 1 79", "xid 1 48")
    assert await machine.read(*after) == Snapshot((gpu(0), gpu(1, xids=(79, 48))))
    assert await machine.read(*after) == Snapshot((gpu(0), gpu(1)))


async def test_no_library(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert await machine.probe.read() == Snapshot(failure=Failure.NO_ACCESS, detail="NVML Shared Library Not Found")


async def test_no_permission_is_the_agents_trouble(machine: Machine) -> None:
    found = await machine.read("count 0 1", "error 0 4")
    assert found == Snapshot(failure=Failure.NO_ACCESS, detail="Insufficient Permissions")


async def test_a_driver_that_goes_and_comes(machine: Machine) -> None:
    gone = Snapshot(failure=Failure.DRIVER_FAILS, detail="Driver Not Loaded")
    assert await machine.read("init 0 9") == gone
    assert await machine.read("count 0 1") == Snapshot((gpu(),))
    assert await machine.read("init 0 9") == gone
    assert await machine.read("count 0 1") == Snapshot((gpu(),))
    assert await machine.read("count 0 1", "xid 0 62") == Snapshot((gpu(xids=(62,)),))


async def test_a_driver_that_hangs_is_given_up(machine: Machine) -> None:
    machine.probe = NvmlProbe(1.0)
    started = time.monotonic()
    assert await machine.read("count 0 1", "hang 0 1") == HANGS
    assert time.monotonic() - started < 3.0
    machine.has("count 0 1")
    await until_well(machine)


async def test_a_process_stuck_in_the_driver_is_not_joined_by_another(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.probe = NvmlProbe(1.0)
    with monkeypatch.context() as patch:
        # Inside a wedged driver a process cannot be killed.
        patch.setattr(asyncio.subprocess.Process, "kill", lambda _: None)
        assert await machine.read("count 0 1", "hang 0 1") == HANGS
        machine.has("count 0 1")
        started = time.monotonic()
        assert await machine.probe.read() == HANGS
        assert time.monotonic() - started < 0.5
    await machine.probe.close()
    await until_well(machine)


async def until_well(machine: Machine) -> None:
    async with asyncio.timeout(20):
        while await machine.probe.read() != Snapshot((gpu(),)):
            await asyncio.sleep(0.05)


async def test_a_library_that_crashes_is_survived(machine: Machine) -> None:
    found = await machine.read("crash 0 1")
    assert found == Snapshot(failure=Failure.DRIVER_FAILS, detail="the process that reads the GPUs ended with -6")
    assert await machine.read("count 0 1") == Snapshot((gpu(),))
