"""Whatever a status turns into: telling of it never fails, is bounded, and nothing is told of what stays."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batchai.api.cluster import ClusterStatus
from batchai.api.job import JobStatus
from batchai.status.events import NOTE_BYTES, notice

text = st.builds(lambda sign, times: sign * times, st.sampled_from("aü€"), st.integers(0, 1500))
errors = st.none() | st.lists(st.fixed_dictionaries({"code": st.just("Code"), "message": text}), max_size=3)
times = st.none() | st.sampled_from(["2026-05-04T03:00:00Z", "2026-05-04T04:00:00Z"])
job_statuses = st.fixed_dictionaries(
    {},
    optional={
        "executionState": st.sampled_from(["queued", "running", "terminating", "succeeded", "failed"]),
        "attempt": st.none() | st.integers(0, 9),
        "retries": st.none() | st.integers(0, 9),
        "nodes": st.none() | st.integers(0, 600).map(lambda number: ["node"] * number),
        "waiting": st.none() | st.fixed_dictionaries({"reason": st.just("Reason"), "message": text}),
        "executionInfo": st.none()
        | st.fixed_dictionaries({"startTime": times, "endTime": times, "exitCode": st.none() | st.integers()})
        | st.fixed_dictionaries({"errors": errors}),
    },
).map(JobStatus.model_validate)
counts = st.fixed_dictionaries({"unusableNodeCount": st.integers(0, 5)})
cluster_statuses = st.fixed_dictionaries(
    {},
    optional={
        "currentNodeCount": st.none() | st.integers(0, 9),
        "nodeStateCounts": st.none() | counts,
        "errors": errors,
    },
).map(ClusterStatus.model_validate)


@settings(deadline=None)
@given(st.tuples(job_statuses, job_statuses) | st.tuples(cluster_statuses, cluster_statuses))
def test_notices_are_bounded(statuses: tuple[Any, Any]) -> None:
    before, after = statuses
    found = notice({"spec": {}}, before, after)
    assert notice({"spec": {}}, after, after) is None
    if found is not None:
        assert found.reason.isalpha()
        assert 0 < len(found.note.encode()) <= NOTE_BYTES
