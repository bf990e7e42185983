"""One worker per key at a time, and nothing is forgotten."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from batchai.reconcile.queue import WorkQueue

keys = st.sampled_from(["a", "b", "c"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(keys, st.sampled_from(["add", "after", "retry"]), st.integers(0, 3)), max_size=20))
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
        elif kind == "after":
            queue.add_after(key, 0.001)
        else:
            queue.retry(key)
        for _ in range(pause):
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while seen != asked:
            await asyncio.sleep(0.001)
    for worker in workers:
        assert not worker.done()
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


def test_failures_wait_longer_and_success_forgets() -> None:
    async def exercise() -> list[float]:
        queue: WorkQueue[str] = WorkQueue(lambda: 0.1)
        loop = asyncio.get_running_loop()
        waits = []
        for forget in (False, False, True, False):
            began = loop.time()
            queue.retry("a")
            key = await queue.get()
            waits.append(loop.time() - began)
            queue.done(key)
            if forget:
                queue.forget(key)
        return waits

    first, second, third, again = asyncio.run(exercise())
    assert first < second < third
    assert again < second
