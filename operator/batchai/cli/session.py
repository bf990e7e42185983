"""What a command needs beside its arguments: the cluster, the environment, time and the terminal."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import BinaryIO, TypeVar

from batchai.cli.kube import Kube, Object, Resource
from batchai.cli.screen import PIPE, Screen
from batchai.errors import BatchAIError, KubeApiError
from batchai.plan.directories import StorageLocation
from batchai.storage import open_directory
from batchai.storage.account import StorageAccount
from batchai.storage.directory import Directory

T = TypeVar("T")

CREATE_SECONDS = 60
"""How long a create waits for the operator's word."""
DELETE_SECONDS = 600
"""How long a delete or a terminate waits for its end."""
OUTAGE_SECONDS = 60
"""How long the cluster or the storage may be out of reach before a long command gives up."""


def api_outage(error: BatchAIError) -> bool:
    """Whether the API server could not answer, rather than did."""
    return isinstance(error, KubeApiError) and (error.status in (0, 429) or error.status >= 500)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Session:
    """One run of the command line; tests put their own in the place of each part."""

    connect: Callable[[], Kube]
    environ: Mapping[str, str]
    out: BinaryIO
    err: BinaryIO
    say: Callable[[str], None]
    """Prints a line beside the result, on stderr."""
    progress: Callable[[str], None] | None = None
    """Shows what is waited for, in the place of what was shown before; None where nobody would see it."""
    screen: Screen = PIPE
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now
    open_storage: Callable[[StorageLocation, StorageAccount], Directory] = field(default=open_directory)

    @cached_property
    def kube(self) -> Kube:
        """The cluster, connected to at the first use."""
        return self.connect()

    def directory(self, location: StorageLocation, account: StorageAccount) -> "closing[Directory]":
        """A directory in storage, as a context that closes it."""
        return closing(self.open_storage(location, account))

    def poll(self, probe: Callable[[], T | None], seconds: float, waiting: str) -> T | None:
        """Asks until `probe` answers something, at most `seconds` long; None if it never did.

        `waiting` is what a terminal shows meanwhile.
        """
        began = self.clock()
        pause = 0.1
        while (answer := self.patiently(probe)) is None and self.clock() < began + seconds:
            self._show(waiting, began)
            self.sleep(pause)
            pause = min(pause * 1.5, 1.0)
        if self.progress:
            self.progress("")
        return answer

    def pause(self, seconds: float, waiting: str) -> None:
        """Sleeps; `waiting` is what a terminal shows meanwhile."""
        began = self.clock()
        step = 1.0 if self.progress else seconds
        while (rest := began + seconds - self.clock()) > 0:
            self._show(waiting, began)
            self.sleep(min(rest, step))

    def _show(self, waiting: str, began: float) -> None:
        if self.progress:
            self.progress(f"{waiting} … {self.clock() - began:.0f} s")

    def patiently(self, action: Callable[[], T], may_pass: Callable[[BatchAIError], bool] | None = None) -> T:
        """The action's result; an outage of less than a minute is waited out.

        `may_pass` tells errors that are no answer; by default those of an API server out of reach.
        """
        deadline = self.clock() + OUTAGE_SECONDS
        while True:
            try:
                return action()
            except BatchAIError as error:
                if not (may_pass or api_outage)(error) or self.clock() >= deadline:
                    raise
                pause = error.retry_after or 1
            self.sleep(min(pause, OUTAGE_SECONDS))

    def find_named(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """One object by its Kubernetes name, None if there is none."""
        try:
            return self.kube.get(resource, namespace, name)
        except KubeApiError as error:
            if error.not_found:
                return None
            raise
