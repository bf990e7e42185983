"""One worker per key at a time, and nothing is forgotten."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from batchai.reconcile.queue import BACKGROUND_TURN, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, WorkQueue

keys = st.sampled_from(["a", "b", "c"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(keys, st.sampled_from(["add", "background", "after", "retry"]), st.integers(0, 3)), max_size=20)
)
def test_every_key_is_worked_on_alone_after_each_demand(demands: list[tuple[str, str, int]]) -> None:
    asyncio.run(_exercise(demands))


async def _exercise(demands: list[tuple[str, str, int]]) -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 0.001)
    working: set[str] = set()
    asked: dict[str, int] = {}
    seen: dict[str, int] = {}

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in working
            working.add(key)
            demand = asked[key]
            await asyncio.sleep(0)
            seen[key] = demand
            working.discard(key)
            queue.forget(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for key, kind, pause in demands:
        asked[key] = asked.get(key, 0) + 1
        if kind == "add":
            queue.add(key)
        elif kind == "background":
            queue.add(key, background=True)
        elif kind == "after":
            queue.add_after(key, 0.001)
        else:
            queue.retry(key)
        for _ in range(pause):
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        while seen != asked:
            await asyncio.sleep(0.001)
    for worker in workers:
        assert not worker.done()
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def _order(queue: WorkQueue[str]) -> list[str]:
    """The keys in the order in which one worker gets them."""
    found = []
    while len(queue):
        found.append(await queue.get())
        queue.done(found[-1])
    return found


async def test_the_background_comes_last_but_comes() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 1.0)
    for number in range(2):
        queue.add(f"background {number}", background=True)
    for number in range(BACKGROUND_TURN * 2):
        queue.add(f"line {number}")
    found = await _order(queue)
    turns = [index + 1 for index, key in enumerate(found) if key.startswith("background")]
    assert turns == [BACKGROUND_TURN, BACKGROUND_TURN * 2]
    assert [key for key in found if key.startswith("line")] == [f"line {number}" for number in range(len(found) - 2)]


async def test_a_key_of_the_background_that_somebody_waits_for_moves_up() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 1.0)
    queue.add("a", background=True)
    queue.add("b", background=True)
    queue.add("c")
    queue.add("b")
    queue.add("c", background=True)
    assert await _order(queue) == ["c", "b", "a"]


async def test_what_became_dirty_while_it_was_worked_on_goes_where_it_was_asked_to() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 1.0)
    for key in ("a", "b"):
        queue.add(key)
        assert await queue.get() == key
        queue.add(key, background=True)
    queue.add("b")
    queue.add("c")
    queue.done("a")
    queue.done("b")
    assert await _order(queue) == ["c", "b", "a"]


class _Delays(WorkQueue[str]):
    """Notes after how long keys are to be worked on, instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.5)
        self.delays: list[float] = []

    def add_after(self, key: str, seconds: float) -> None:
        self.delays.append(seconds)


def test_failures_wait_longer_up_to_a_limit_and_success_forgets() -> None:
    queue = _Delays()
    for _ in range(20):
        queue.retry("a")
    queue.retry("b")
    queue.forget("a")
    queue.retry("a")
    delays = queue.delays
    assert delays[:3] == [FIRST_RETRY_SECONDS * 0.5, FIRST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2]
    assert delays[19] == LONGEST_RETRY_SECONDS * 0.5
    assert delays[20:] == delays[:1] * 2
