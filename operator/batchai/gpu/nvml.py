"""The reader's process: for each line that comes in, a snapshot goes out. Only this module knows nvidia-ml-py.

A wedged driver may keep it for ever; probe.py then gives it up. NVML stays open from one snapshot to the next,
because the driver tells XIDs only to those who listen at that moment.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pynvml  # type: ignore[import-untyped]

from batchai.gpu.snapshot import Failure, Gpu, Snapshot

_HARDWARE_SLOWDOWN = (
    pynvml.nvmlClocksEventReasonHwSlowdown
    | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
)
"""Not what the driver's own control of power and temperature does: under load that is normal."""
_EVENTS_AT_MOST = 256
_EVENT_WAIT_MILLISECONDS = 1


class Reader:
    """NVML, opened when it can be."""

    def __init__(self) -> None:
        self._open = False
        self._events: dict[int, Any] = {}

    def read(self) -> Snapshot:
        """The GPUs as they are, and the XIDs since the last call."""
        try:
            if not self._open:
                self._start()
            gpus = [_read(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_NoPermission) as error:
            return Snapshot(failure=Failure.NO_ACCESS, detail=str(error))
        except pynvml.NVMLError as error:
            self._stop()
            return Snapshot(failure=Failure.DRIVER_FAILS, detail=str(error))
        return Snapshot(tuple(replace(gpu, xids=tuple(self._xids(gpu.index))) for gpu in gpus))

    def _start(self) -> None:
        pynvml.nvmlInit()
        self._open = True
        for index in range(pynvml.nvmlDeviceGetCount()):
            # A GPU that cannot be listened to is no fault; one that is lost is seen when it is read.
            with suppress(pynvml.NVMLError):
                self._listen(index)

    def _stop(self) -> None:
        self._open = False
        self._events.clear()
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _listen(self, index: int) -> None:
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        kinds = pynvml.nvmlDeviceGetSupportedEventTypes(device) & pynvml.nvmlEventTypeXidCriticalError
        if kinds:
            events = pynvml.nvmlEventSetCreate()
            pynvml.nvmlDeviceRegisterEvents(device, kinds, events)
            self._events[index] = events

    def _xids(self, index: int) -> Iterator[int]:
        if index not in self._events:
            return
        for _ in range(_EVENTS_AT_MOST):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events[index], _EVENT_WAIT_MILLISECONDS)
            except pynvml.NVMLError:  # Timeout: there are no more; the rest is seen when the GPU is read
                return
            yield int(event.eventData)


def _read(index: int) -> Gpu:
    uuid = ""
    try:
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(device)
        remapped = _told(pynvml.nvmlDeviceGetRemappedRows, device)
        retiring = _told(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, device)
        memory = _told(pynvml.nvmlDeviceGetMemoryInfo, device, pynvml.nvmlMemory_v2)
        clocks = _told(pynvml.nvmlDeviceGetCurrentClocksEventReasons, device)
        return Gpu(
            index,
            uuid,
            ecc_errors=_told(
                pynvml.nvmlDeviceGetTotalEccErrors,
                device,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            ),
            row_remap_pending=None if remapped is None else bool(remapped[2]),
            row_remap_failed=None if remapped is None else bool(remapped[3]),
            page_retirement_pending=None if retiring is None else bool(retiring),
            slowed_down=None if clocks is None else bool(clocks & _HARDWARE_SLOWDOWN),
            processes=tuple(item.pid for item in _told(pynvml.nvmlDeviceGetComputeRunningProcesses, device) or ()),
            memory_used=None if memory is None else int(memory.used),
        )
    except pynvml.NVMLError_NoPermission:
        raise
    except pynvml.NVMLError as error:
        return Gpu(index, uuid, fault=str(error))


def _told(call: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, None where the card or the driver has none; raises if the GPU itself does not answer."""
    try:
        return call(*arguments)
    except (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired):
        raise
    except pynvml.NVMLError:
        return None


def main() -> None:
    """Reads until its input ends."""
    reader = Reader()
    for _ in sys.stdin:
        sys.stdout.write(reader.read().to_line())
        sys.stdout.flush()


if __name__ == "__main__":
    main()
