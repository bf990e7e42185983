"""No node is given twice, a job gets all its nodes or none, and nobody overtakes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batchai.schedule.queue import QueuedJob, assign, order

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

jobs = st.lists(
    st.builds(
        QueuedJob,
        name=st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        priority=st.sampled_from(["low", "normal", "high"]),
        created=st.integers(0, 5).map(lambda seconds: _EPOCH + timedelta(seconds=seconds)),
        node_count=st.integers(1, 4),
    ),
    unique_by=lambda job: job.name,
    max_size=12,
)
nodes = st.sets(st.from_regex(r"n[0-9]{1,2}", fullmatch=True), max_size=10).map(sorted)


@given(jobs, nodes)
def test_gangs_are_whole_and_disjoint(queue: list[QueuedJob], idle: list[str]) -> None:
    decision = assign(queue, idle)
    given_out = [node for held in decision.started.values() for node in held]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= set(idle)
    sizes = {job.name: job.node_count for job in queue}
    assert all(len(held) == sizes[name] for name, held in decision.started.items())
    assert set(decision.started) | set(decision.waiting) == set(sizes)
    assert not set(decision.started) & set(decision.waiting)


@given(jobs, nodes)
def test_the_started_jobs_are_the_first_of_the_queue(queue: list[QueuedJob], idle: list[str]) -> None:
    decision = assign(queue, idle)
    names = [job.name for job in order(queue)]
    assert [*decision.started, *decision.waiting] == names


@given(jobs, nodes)
def test_the_head_of_the_queue_starts_when_it_fits(queue: list[QueuedJob], idle: list[str]) -> None:
    decision = assign(queue, idle)
    if decision.waiting:
        head = next(job for job in queue if job.name == decision.waiting[0])
        held = sum(len(nodes) for nodes in decision.started.values())
        assert head.node_count > len(idle) - held


@given(jobs, nodes, st.randoms())
def test_the_order_of_arrival_in_memory_does_not_matter(queue, idle, random) -> None:
    shuffled = list(queue)
    random.shuffle(shuffled)
    assert assign(shuffled, idle) == assign(queue, idle)
