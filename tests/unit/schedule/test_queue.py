"""Backfill by examples; the properties are in tests/property/test_queue.py."""

from datetime import UTC, datetime

import pytest

from batchai.schedule.queue import QueuedJob, Supply, assign, shown_position, waiting_message

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(name: str, nodes: int, priority: str = "normal", avoids: frozenset[str] = frozenset()) -> QueuedJob:
    return QueuedJob(name, priority, NOW, nodes, avoids)


def test_a_later_job_takes_what_is_left_over() -> None:
    # When the running job of 6 nodes ends there are 8: the first needs 5, so 2 of the 3 beyond are idle now.
    decision = assign([job("a-first", 5), job("b", 2), job("c", 1)], ["n1", "n2"], [["r"] * 6])
    assert decision.started == {"b": ("n1", "n2")}
    assert decision.waiting == ("a-first", "c")


def test_nothing_is_left_over_when_single_nodes_come_back() -> None:
    decision = assign([job("a-first", 5), job("b", 1)], ["n1", "n2"], [["r"] for _ in range(6)])
    assert decision.started == {}


@pytest.mark.parametrize(
    ("idle", "coming", "started"),
    [
        (["n1", "n2"], [], []),
        (["n1", "n2", "n3"], [], ["b"]),
        (["n1"], [["n2"]], []),
        (["n1"], [["n2", "n3"]], ["b"]),
        (["n1"], [], ["b"]),
    ],
)
def test_a_job_that_may_not_start_yet_keeps_its_reservation(
    idle: list[str], coming: list[list[str]], started: list[str]
) -> None:
    decision = assign([job("a-again", 2), job("b", 1), job("c", 1)], idle, coming, {"a-again"})
    assert list(decision.started) == started
    assert decision.waiting[0] == "a-again"


def test_a_job_that_avoids_a_node_leaves_it_to_others() -> None:
    first = job("a-first", 1, avoids=frozenset({"sick"}))
    decision = assign([first, job("b", 1)], ["sick"], [["n1"]])
    assert decision.started == {"b": ("sick",)}


def test_priority_goes_before_age() -> None:
    assert list(assign([job("a", 1, "low"), job("b", 1), job("c", 1, "high")], ["n1", "n2"]).started) == ["c", "b"]


@pytest.mark.parametrize(
    ("position", "shown", "expected"),
    [(7, 8, 7), (40, None, 40), (39, 40, 40), (20, 40, 20), (80, 40, 80), (11, 9, 11)],
)
def test_far_positions_are_not_rewritten_for_every_start(position: int, shown: int | None, expected: int) -> None:
    assert shown_position(position, shown) == expected


def test_a_job_is_told_what_it_waits_for() -> None:
    supply = Supply(idle=1, total=4, maximum=4, running={"cntk-python-7": 3}, others={"unusable": 0})
    assert waiting_message(job("a", 2), 1, supply) == (
        "WaitingForNodes",
        "waits for 2 nodes: 1 of 4 idle, 3 run cntk-python-7",
    )
    assert waiting_message(job("a", 2), 3, supply) == ("BehindOthers", "waits for 2 nodes: 2 earlier in the queue")
    assert waiting_message(job("a", 5), 1, supply)[0] == "ClusterTooSmall"


def test_a_long_list_of_jobs_is_cut() -> None:
    supply = Supply(idle=0, total=500, maximum=500, running={f"job-{index}": 1 for index in range(500)})
    assert waiting_message(job("a", 1), 1, supply)[1].endswith("1 runs job-4, 495 run other jobs")


def test_the_nodes_of_a_broken_attempt_come_last() -> None:
    again = QueuedJob("again", "normal", datetime(2026, 1, 1, tzinfo=UTC), 1, last=frozenset({"a"}))
    assert assign([again], ["a", "b", "c"]).started == {"again": ("b",)}
    assert assign([again], ["a"]).started == {"again": ("a",)}
