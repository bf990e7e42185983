"""What a snapshot shows by itself."""

import pytest

from batchai.gpu.findings import APPLICATION_XIDS, Finding, Reason, examine
from batchai.gpu.snapshot import Failure, Gpu, Snapshot

WELL = Gpu(0, "GPU-a", ecc_errors=0, row_remap_pending=False, row_remap_failed=False, slowed_down=False)


@pytest.mark.parametrize(
    ("gpu", "reason", "text"),
    [
        (Gpu(1, "GPU-b", xids=(79,)), Reason.XID_ERROR, "GPU 1 (GPU-b): XID 79"),
        (Gpu(1, fault="GPU is lost"), Reason.GPU_LOST, "GPU 1: GPU is lost"),
        (Gpu(1, "GPU-b", ecc_errors=2), Reason.ECC_ERRORS, "GPU 1 (GPU-b): uncorrectable memory errors: 2"),
        (
            Gpu(1, "GPU-b", row_remap_failed=True),
            Reason.ROW_REMAP_FAILED,
            "GPU 1 (GPU-b): no spare rows are left for bad ones",
        ),
        (
            Gpu(1, "GPU-b", row_remap_pending=True),
            Reason.ROW_REMAP_PENDING,
            "GPU 1 (GPU-b): a bad row is replaced at the next reset",
        ),
        (
            Gpu(1, "GPU-b", page_retirement_pending=True),
            Reason.PAGE_RETIREMENT_PENDING,
            "GPU 1 (GPU-b): a bad page is retired at the next reset",
        ),
        (
            Gpu(1, "GPU-b", slowed_down=True),
            Reason.SLOWED_DOWN,
            "GPU 1 (GPU-b): its hardware slows it down, because of heat or power",
        ),
        (
            Gpu(1, "GPU-b", processes=(7, 5)),
            Reason.LEFTOVER_PROCESSES,
            "GPU 1 (GPU-b): somebody computes on it, but no pod has it, pid 5, pid 7",
        ),
        (
            Gpu(1, "GPU-b", memory_used=2 << 30),
            Reason.LEFTOVER_PROCESSES,
            "GPU 1 (GPU-b): somebody computes on it, but no pod has it",
        ),
    ],
)
def test_a_fault_names_its_gpu(gpu: Gpu, reason: Reason, text: str) -> None:
    assert examine(Snapshot((WELL, gpu)), expected=2, in_use=False) == (Finding(reason, text),)
    assert reason.sick


def test_all_faults_are_found() -> None:
    found = examine(Snapshot((Gpu(0, "GPU-a", ecc_errors=1), Gpu(1, "GPU-b", xids=(79, 79)))), expected=4, in_use=True)
    assert [finding.reason for finding in found] == [Reason.ECC_ERRORS, Reason.XID_ERROR, Reason.GPU_MISSING]
    assert found[2].text == "the driver finds 2 of 4 GPUs"


@pytest.mark.parametrize(
    "gpu",
    [
        WELL,
        Gpu(0, "GPU-a"),  # a card that tells nothing
        Gpu(0, "GPU-a", xids=tuple(APPLICATION_XIDS)),
        Gpu(0, "GPU-a", processes=(7,), memory_used=2 << 30),  # a pod's
    ],
)
def test_what_is_no_fault(gpu: Gpu) -> None:
    assert examine(Snapshot((gpu,)), expected=1, in_use=True) == (Finding(Reason.HEALTHY, "GPUs that are well: 1"),)


def test_the_drivers_own_memory_is_no_leftover() -> None:
    (found,) = examine(Snapshot((Gpu(0, memory_used=64 << 20),)), expected=1, in_use=False)
    assert found.reason is Reason.HEALTHY


@pytest.mark.parametrize(
    ("snapshot", "expected", "reason"),
    [
        (Snapshot(), 0, Reason.NO_GPU),
        (Snapshot(), 1, Reason.GPU_MISSING),
        (Snapshot((WELL,)), 0, Reason.HEALTHY),  # its device plugin is still to come
        (Snapshot(failure=Failure.NO_ACCESS, detail="not found"), 0, Reason.NO_GPU),
        (Snapshot(failure=Failure.NO_ACCESS, detail="not found"), 1, Reason.NO_ACCESS),
        (Snapshot(failure=Failure.DRIVER_FAILS, detail="not loaded"), 0, Reason.NO_GPU),
        (Snapshot(failure=Failure.DRIVER_FAILS, detail="not loaded"), 1, Reason.DRIVER_FAILS),
        (Snapshot(failure=Failure.DRIVER_HANGS, detail="no answer"), 0, Reason.DRIVER_HANGS),
    ],
)
def test_what_is_there_against_what_should_be(snapshot: Snapshot, expected: int, reason: Reason) -> None:
    (found,) = examine(snapshot, expected=expected, in_use=False)
    assert found.reason is reason
    assert snapshot.detail in found.text


def test_snapshots_survive_the_way_between_processes() -> None:
    for snapshot in (
        Snapshot((WELL, Gpu(1, "GPU-b", processes=(1, 2), xids=(79,)))),
        Snapshot(failure=Failure.NO_ACCESS, detail="é\n"),
    ):
        line = snapshot.to_line()
        assert line.count("\n") == 1
        assert Snapshot.from_line(line) == snapshot
