from datetime import timedelta
from typing import Any

from tests.unit.builders import NOW

from batchai.api.cluster import Cluster, ClusterStatus
from batchai.schedule.nodes import NodeCounts
from batchai.schedule.scaling import Target
from batchai.status.cluster import (
    NODES_AVAILABLE,
    PATIENCE,
    NodeProblem,
    Observation,
    expects_nodes,
    observed,
    over_quota,
    patience_left,
)
from batchai.status.conditions import find


def cluster(status: ClusterStatus | None = None, generation: int = 1) -> Cluster:
    raw: dict[str, Any] = {
        "metadata": {"name": "nc6", "namespace": "ns", "generation": generation},
        "spec": {"workspace": "w", "vmSize": "Standard_NC6"},
    }
    subject = Cluster.model_validate(raw)
    return subject.model_copy(update={"status": status}) if status else subject


def seen(target: int, problems: tuple[NodeProblem, ...] = (), provider: str = "", **counts: int) -> Observation:
    return Observation(NodeCounts(**counts), Target(target), resizing=False, problems=problems, provider=provider)


def test_missing_nodes_are_expected_for_a_while_and_then_an_error() -> None:
    first = observed(cluster(), seen(3, idle=1), NOW)
    assert (first.allocation_state, first.current_node_count, first.errors) == ("resizing", 1, None)
    again = observed(cluster(first), seen(3, idle=1), NOW + PATIENCE - timedelta(seconds=1))
    assert again.allocation_state == "resizing"
    late = observed(cluster(again), seen(3, provider="0/4 nodes are available", idle=1), NOW + PATIENCE)
    assert late.allocation_state == "steady"
    assert late.errors is not None
    assert late.errors[0].code == "NodesUnavailable"
    assert late.errors[0].details is not None
    assert late.errors[0].details[0].value == "0/4 nodes are available"
    assert not expects_nodes(cluster(late), NodeCounts(idle=1), 3, NOW + PATIENCE)


def test_another_target_begins_the_wait_again() -> None:
    late = observed(cluster(observed(cluster(), seen(3, idle=1), NOW)), seen(3, idle=1), NOW + PATIENCE)
    changed = observed(cluster(late, generation=2), seen(2, idle=1), NOW + PATIENCE)
    assert changed.allocation_state == "resizing"


def test_a_target_that_rises_begins_the_wait_again() -> None:
    """An autoscaled cluster lacks a node for long, then a job comes that needs more: those are on their way."""
    late = NOW + PATIENCE
    short = observed(cluster(observed(cluster(), seen(4, idle=3), NOW)), seen(4, idle=3), late)
    assert not expects_nodes(cluster(short), NodeCounts(idle=3), 4, late)
    assert expects_nodes(cluster(short), NodeCounts(idle=3), 8, late)
    assert patience_left(cluster(short), 8, late) == PATIENCE
    raised = observed(cluster(short), seen(8, idle=3), late)
    assert (raised.allocation_state, raised.errors) == ("resizing", None)
    soon = late + timedelta(minutes=1)
    assert observed(cluster(raised), seen(8, idle=3), soon) == raised, "nothing to write"
    lowered = observed(cluster(raised), seen(6, idle=3), soon)
    assert patience_left(cluster(lowered), 6, soon) == PATIENCE - timedelta(minutes=1)


def test_a_target_that_rises_and_is_reached_is_no_transition() -> None:
    first = observed(cluster(), seen(2, idle=2), NOW)
    more = observed(cluster(first), seen(3, idle=3), NOW + PATIENCE)
    condition = find(more.conditions, NODES_AVAILABLE)
    assert condition is not None
    assert (condition.status, condition.last_transition_time) == ("True", NOW)


def test_enough_nodes_are_steady() -> None:
    status = observed(cluster(), seen(2, idle=1, running=1), NOW)
    assert (status.allocation_state, status.errors) == ("steady", None)
    assert status.node_state_counts is not None
    assert status.node_state_counts.running_node_count == 1


def test_every_node_that_cannot_run_jobs_is_named() -> None:
    problems = tuple(NodeProblem(f"n{index}", "NodeUnusable", "is cordoned", "more") for index in range(30))
    status = observed(cluster(), seen(30, problems, unusable=30), NOW)
    assert status.errors is not None
    assert len(status.errors) == 20
    assert status.errors[0].message == "Node n0 is cordoned"
    assert {detail.name: detail.value for detail in status.errors[0].details or []} == {"Node": "n0", "Info": "more"}


def test_a_quota_is_named_with_what_is_in_use() -> None:
    status = over_quota(cluster(), limit=2, used=2, now=NOW)
    assert status.provisioning_state == "failed"
    assert status.errors is not None
    assert status.errors[0].code == "ClusterQuotaReached"
    assert "maximum number of clusters allowed is 2" in status.errors[0].message
