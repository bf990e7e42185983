"""What a probe reads of a node's GPUs, as values. The reader's process hands them over as lines of JSON."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why there is nothing to say of the GPUs themselves."""

    NO_ACCESS = "NoAccess"
    DRIVER_FAILS = "DriverFails"
    DRIVER_HANGS = "DriverHangs"


@dataclass(frozen=True)
class Gpu:
    """One GPU. None: the card or its driver does not tell, which is never a fault.

    uuid: "" if it could not be read. fault: NVML's words if the GPU does not answer. ecc_errors: uncorrectable ones
    since the driver was loaded. slowed_down: by the hardware, because of heat or power. processes: pids of those
    that compute, as far as the driver tells them across PID namespaces. memory_used: bytes, what the driver keeps for
    itself not included. xids: the driver's error codes since the snapshot before.
    """

    index: int
    uuid: str = ""
    fault: str = ""
    ecc_errors: int | None = None
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    page_retirement_pending: bool | None = None
    slowed_down: bool | None = None
    processes: tuple[int, ...] = ()
    memory_used: int | None = None
    xids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """The GPUs in the order of their index, or the failure to read any; detail: what NVML said."""

    gpus: tuple[Gpu, ...] = ()
    failure: Failure | None = None
    detail: str = ""

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> "Snapshot":
        """The snapshot of a line that to_line made."""
        raw = json.loads(line)
        gpus = (Gpu(**{**gpu, "processes": tuple(gpu["processes"]), "xids": tuple(gpu["xids"])}) for gpu in raw["gpus"])
        return cls(tuple(gpus), Failure(raw["failure"]) if raw["failure"] else None, raw["detail"])
