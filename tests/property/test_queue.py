"""No node is given twice, a job gets all its nodes or none, and nobody delays the first job that waits."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from batchai.schedule.queue import QueuedJob, assign, order, shown_position

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_NODES = [f"n{index:02}" for index in range(14)]

jobs = st.lists(
    st.builds(
        QueuedJob,
        name=st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        priority=st.sampled_from(["low", "normal", "high"]),
        created=st.integers(0, 5).map(lambda seconds: _EPOCH + timedelta(seconds=seconds)),
        node_count=st.integers(1, 6),
        avoids=st.one_of(st.just(frozenset()), st.frozensets(st.sampled_from(_NODES), max_size=3)),
    ),
    unique_by=lambda job: job.name,
    max_size=12,
)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Idle nodes, and the nodes of running jobs as groups."""
    nodes = draw(st.permutations(_NODES))
    cut = draw(st.integers(0, len(nodes)))
    idle, rest = nodes[:cut], list(nodes[cut:])
    groups = []
    while rest:
        size = draw(st.integers(1, min(4, len(rest))))
        groups.append(rest[:size])
        rest = rest[size:]
    return sorted(idle), groups


def suiting(job: QueuedJob, nodes: Sequence[str]) -> int:
    return sum(node not in job.avoids for node in nodes)


@given(jobs, clusters())
def test_gangs_are_whole_and_disjoint(queue, cluster) -> None:
    idle, coming = cluster
    decision = assign(queue, idle, coming)
    given_out = [node for held in decision.started.values() for node in held]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= set(idle)
    wanted = {job.name: job for job in queue}
    for name, held in decision.started.items():
        assert len(held) == wanted[name].node_count
        assert not wanted[name].avoids & set(held)
    assert set(decision.started) | set(decision.waiting) == set(wanted)
    assert not set(decision.started) & set(decision.waiting)


@given(jobs, clusters())
def test_the_first_in_the_queue_start_while_they_fit(queue, cluster) -> None:
    idle, coming = cluster
    decision = assign(queue, idle, coming)
    free = list(idle)
    for job in order(queue):
        if suiting(job, free) < job.node_count:
            assert decision.waiting
            assert decision.waiting[0] == job.name
            return
        assert job.name in decision.started
        free = [node for node in free if node not in decision.started[job.name]]


@given(jobs, clusters(), st.data(), st.randoms(use_true_random=False))
def test_nobody_delays_the_first_job_that_waits(queue, cluster, data, random: Random) -> None:
    """In whatever order the running jobs end, it can start at the same end as without those that passed it.

    Even if it waits for a reason of its own, and could start before any of them ends.
    """
    idle, coming = cluster
    later = data.draw(st.sets(st.sampled_from([job.name for job in queue]))) if queue else set()
    decision = assign(queue, idle, coming, later)
    assert not later & set(decision.started)
    if not decision.waiting:
        return
    ranks = {job.name: rank for rank, job in enumerate(order(queue))}
    first = next(job for job in queue if job.name == decision.waiting[0])
    earlier = [nodes for name, nodes in decision.started.items() if ranks[name] < ranks[first.name]]
    passers = [nodes for name, nodes in decision.started.items() if ranks[name] > ranks[first.name]]
    running = [*coming, *earlier]
    random.shuffle(running)
    without = suiting(first, [node for node in idle if not any(node in nodes for nodes in earlier)])
    passed = sum(suiting(first, nodes) for nodes in passers)
    for nodes in [[], *running]:
        without += suiting(first, nodes)
        if without >= first.node_count:
            assert without - passed >= first.node_count
            return


@given(jobs, clusters())
def test_a_job_that_can_never_start_stops_nobody(queue, cluster) -> None:
    idle, coming = cluster
    giant = QueuedJob("0", "high", _EPOCH - timedelta(1), len(_NODES) + 1)
    alone, behind = assign(queue, idle, coming), assign([giant, *queue], idle, coming)
    assert behind.started == alone.started


@given(jobs, clusters(), st.randoms(use_true_random=False))
def test_the_order_in_memory_does_not_matter(queue, cluster, random: Random) -> None:
    idle, coming = cluster
    shuffled = list(queue)
    random.shuffle(shuffled)
    assert assign(shuffled, idle, coming) == assign(queue, idle, coming)


@given(st.lists(st.integers(1, 5000), max_size=50))
def test_the_shown_position_is_near_the_true_one_and_exact_in_front(positions: list[int]) -> None:
    shown = None
    for position in positions:
        shown = shown_position(position, shown)
        assert shown == position or (position > 10 and shown < 2 * position < 4 * shown)
