"""The seam to the GPUs, and the one probe behind it: a process that may hang in its driver."""

import asyncio
import sys
from contextlib import suppress
from typing import Protocol

from batchai.gpu.snapshot import Failure, Snapshot

_LONGEST_LINE = 1024 * 1024
_END_SECONDS = 2.0


class GpuProbe(Protocol):
    """What the agent needs of a node's GPUs."""

    async def read(self) -> Snapshot:
        """The GPUs as they are. It never raises and never hangs: both are findings."""


class NvmlProbe:
    """Asks batchai.gpu.nvml in a process of its own, and gives up on a process that does not answer in time."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._reader: asyncio.subprocess.Process | None = None
        self._given_up: asyncio.subprocess.Process | None = None

    async def read(self) -> Snapshot:
        """The GPUs as they are, or the failure to tell within the deadline."""
        # SIGKILL does not reach a process inside a wedged driver. While it is there another one would get stuck too.
        if self._given_up is not None and self._given_up.returncode is None:
            return self._hangs()
        self._given_up = None
        if self._reader is None:
            self._reader = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "batchai.gpu.nvml",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
            )
        try:
            async with asyncio.timeout(self._deadline):
                line = await _ask(self._reader)
                if line:
                    return Snapshot.from_line(line)
                code = await self._reader.wait()
        except TimeoutError:
            self._reader.kill()
            self._given_up, self._reader = self._reader, None
            return self._hangs()
        self._reader = None
        return Snapshot(failure=Failure.DRIVER_FAILS, detail=f"the process that reads the GPUs ended with {code}")

    async def close(self) -> None:
        """Ends the process, if it can be ended."""
        for process in (self._reader, self._given_up):
            if process is not None and process.returncode is None:
                process.kill()
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _END_SECONDS)

    def _hangs(self) -> Snapshot:
        return Snapshot(failure=Failure.DRIVER_HANGS, detail=f"the driver has not answered within {self._deadline:g} s")


async def _ask(process: asyncio.subprocess.Process) -> bytes:
    """The process's next line; empty if it has ended."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    with suppress(ConnectionError):
        process.stdin.write(b"\n")
        await process.stdin.drain()
    return await process.stdout.readline()
