"""A snapshot judged by itself: what is wrong with which GPU. How long something must last is for verdict.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from batchai.gpu.snapshot import Failure, Gpu, Snapshot

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""XIDs that a program causes, not the GPU: those that NVIDIA's device plugin ignores too."""
_IDLE_BYTES = 256 * 1024 * 1024
"""More than this is no bookkeeping of the driver's: somebody computes, even if the driver does not tell who."""


class Reason(StrEnum):
    """Reasons of the condition; of several the first one leads."""

    XID_ERROR = "XidError"
    DRIVER_HANGS = "DriverHangs"
    DRIVER_FAILS = "DriverFails"
    GPU_LOST = "GpuLost"
    GPU_MISSING = "GpuMissing"
    ROW_REMAP_FAILED = "RowRemapFailed"
    ECC_ERRORS = "EccErrors"
    ROW_REMAP_PENDING = "RowRemapPending"
    PAGE_RETIREMENT_PENDING = "PageRetirementPending"
    SLOWED_DOWN = "SlowedDown"
    LEFTOVER_PROCESSES = "LeftoverProcesses"
    NO_ACCESS = "NoAccess"
    NO_GPU = "NoGpu"
    HEALTHY = "Healthy"

    @property
    def sick(self) -> bool:
        """No job should come to a node with such a GPU."""
        return self not in {Reason.NO_ACCESS, Reason.NO_GPU, Reason.HEALTHY}


@dataclass(frozen=True)
class Finding:
    """A reason, and its text in the condition's message."""

    reason: Reason
    text: str


def examine(snapshot: Snapshot, *, expected: int, in_use: bool) -> tuple[Finding, ...]:
    """What a snapshot shows: everything that is wrong, or the one finding that nothing is or could be seen.

    expected: the GPUs that the node should have. in_use: pods with GPUs are on the node, and what occupies these is
    theirs.
    """
    if snapshot.failure is not None:
        return (_failed(snapshot.failure, snapshot.detail, expected),)
    if not snapshot.gpus and not expected:
        return (Finding(Reason.NO_GPU, "the node has no GPU"),)
    wrong = [finding for gpu in snapshot.gpus for finding in _wrong(gpu, in_use=in_use)]
    count = len(snapshot.gpus)
    if count < expected:
        wrong.append(Finding(Reason.GPU_MISSING, f"the driver finds {count} of {expected} GPUs"))
    return tuple(wrong) or (Finding(Reason.HEALTHY, f"GPUs that are well: {count}"),)


def occupied(gpu: Gpu) -> bool:
    """Somebody computes on the GPU."""
    return bool(gpu.processes) or (gpu.memory_used or 0) > _IDLE_BYTES


def _failed(failure: Failure, detail: str, expected: int) -> Finding:
    if failure is Failure.DRIVER_HANGS:
        return Finding(Reason.DRIVER_HANGS, detail)
    if not expected:
        return Finding(Reason.NO_GPU, f"the node advertises no GPU, and NVML says: {detail}")
    if failure is Failure.DRIVER_FAILS:
        return Finding(Reason.DRIVER_FAILS, f"NVML says: {detail}")
    return Finding(Reason.NO_ACCESS, f"the agent cannot see the GPUs that the node advertises: {detail}")


def _wrong(gpu: Gpu, *, in_use: bool) -> Iterator[Finding]:
    name = f"GPU {gpu.index} ({gpu.uuid})" if gpu.uuid else f"GPU {gpu.index}"
    for xid in dict.fromkeys(gpu.xids):
        if xid not in APPLICATION_XIDS:
            yield Finding(Reason.XID_ERROR, f"{name}: XID {xid}")
    if gpu.fault:
        yield Finding(Reason.GPU_LOST, f"{name}: {gpu.fault}")
    if gpu.row_remap_failed:
        yield Finding(Reason.ROW_REMAP_FAILED, f"{name}: no spare rows are left for bad ones")
    if gpu.ecc_errors:
        yield Finding(Reason.ECC_ERRORS, f"{name}: uncorrectable memory errors: {gpu.ecc_errors}")
    if gpu.row_remap_pending:
        yield Finding(Reason.ROW_REMAP_PENDING, f"{name}: a bad row is replaced at the next reset")
    if gpu.page_retirement_pending:
        yield Finding(Reason.PAGE_RETIREMENT_PENDING, f"{name}: a bad page is retired at the next reset")
    if gpu.slowed_down:
        yield Finding(Reason.SLOWED_DOWN, f"{name}: its hardware slows it down, because of heat or power")
    if occupied(gpu) and not in_use:
        pids = "".join(f", pid {pid}" for pid in sorted(gpu.processes))
        yield Finding(Reason.LEFTOVER_PROCESSES, f"{name}: somebody computes on it, but no pod has it{pids}")
