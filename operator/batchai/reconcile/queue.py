"""The work queue: a key is worked on by one worker at a time, and never forgotten.

Three places: `dirty` keys need work, `processing` ones are being worked on (and go back to the line if they
became dirty meanwhile), `later` ones wait for their time. It knows nothing about what the keys mean, but that some can
wait: these are the background, and get one turn of every few while there are others.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 30.0
BACKGROUND_TURN = 8
"""Of so many keys in a row one is of the background at least, if one is there."""


class WorkQueue(Generic[K]):
    """A queue of keys; `jitter` gives a factor around 1 for retries."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._line: deque[K] = deque()
        self._background: dict[K, None] = {}
        self._can_wait: set[K] = set()
        self._turn = 0
        self._since: dict[K, float] = {}
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that need work now."""
        return len(self._since)

    def oldest(self) -> float:
        """Seconds that the oldest key has waited for a worker."""
        now = asyncio.get_running_loop().time()
        return max((now - since for since in self._since.values()), default=0.0)

    def add(self, key: K, *, background: bool = False) -> None:
        """The key needs work; once, however often this is said. In the background only if nobody says otherwise."""
        if key in self._since:
            if not background and key in self._can_wait:
                self._can_wait.discard(key)
                if key in self._background:
                    del self._background[key]
                    self._line.append(key)
            return
        self._since[key] = asyncio.get_running_loop().time()
        if background:
            self._can_wait.add(key)
        if key not in self._processing:
            self._stand(key)

    def add_after(self, key: K, seconds: float) -> None:
        """The key needs work in a while; the earliest time said counts."""
        due = asyncio.get_running_loop().time() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._changed.set()

    def retry(self, key: K) -> None:
        """The work failed: again, later each time."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16), LONGEST_RETRY_SECONDS)
        self.add_after(key, delay * self._jitter())

    def forget(self, key: K) -> None:
        """The work succeeded: the next failure is the first again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; `done` must follow."""
        while True:
            wait = self._promote()
            if self._line or self._background:
                key = self._next()
                del self._since[key]
                self._can_wait.discard(key)
                self._processing.add(key)
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """The worker is finished with the key; it goes back to the line if it became dirty meanwhile."""
        self._processing.discard(key)
        if key in self._since:
            self._stand(key)

    def _stand(self, key: K) -> None:
        if key in self._can_wait:
            self._background[key] = None
        else:
            self._line.append(key)
        self._changed.set()

    def _next(self) -> K:
        self._turn += 1
        if self._background and (not self._line or self._turn % BACKGROUND_TURN == 0):
            key = next(iter(self._background))
            del self._background[key]
            return key
        return self._line.popleft()

    def _promote(self) -> float | None:
        """Moves keys whose time has come to the line; seconds until the next one's."""
        now = asyncio.get_running_loop().time()
        while self._later:
            due, _, key = self._later[0]
            if self._due.get(key) != due:
                heapq.heappop(self._later)
            elif due <= now:
                heapq.heappop(self._later)
                del self._due[key]
                self.add(key)
            else:
                return due - now
        return None
