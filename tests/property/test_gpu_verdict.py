"""The verdict over any history of findings and restarts of the agent."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batchai.gpu.findings import Finding, Reason
from batchai.gpu.verdict import PROBES, WELL_PROBES, Standing, Streaks, settle

BOOTED = datetime(2026, 5, 4, tzinfo=UTC)
CALM = [reason for reason in Reason if not reason.sick]
SICK = [reason for reason in Reason if reason.sick]

found = st.one_of(
    st.sampled_from(CALM).map(lambda reason: (reason,)),
    st.lists(st.sampled_from(SICK), min_size=1, max_size=3, unique=True).map(tuple),
)
history = st.lists(st.one_of(found, st.just("restart")), max_size=60)


@given(history)
def test_sick_nodes_are_never_called_well_too_early_nor_well_ones_sick(events: list[tuple[Reason, ...] | str]) -> None:
    standing: Standing | None = None
    streaks: Streaks = {}
    probes: list[tuple[Reason, ...]] = []
    now = BOOTED
    for event in events:
        now += timedelta(seconds=15)
        if isinstance(event, str):
            streaks, probes = {}, []
            continue
        probes.append(event)
        before = standing.verdict if standing else None
        findings = [Finding(reason, f"GPU 0: {reason}") for reason in event]
        verdict, streaks = settle(standing, findings, streaks, booted=BOOTED)
        if verdict is None:
            assert before is None
            continue
        if verdict != before:
            standing = Standing(verdict, now)
        if verdict.status == "False" and verdict != before:
            needed = PROBES.get(Reason(verdict.reason), 1)
            assert all(verdict.reason in probe for probe in probes[-needed:])
            assert len(probes) >= needed
        if before and before.status == "False" and verdict.status != "False":
            assert before.reason != Reason.XID_ERROR
            assert len(probes) >= WELL_PROBES
            assert all(probe == probes[-1] for probe in probes[-WELL_PROBES:])
            assert not probes[-1][0].sick
        if any(PROBES.get(reason, 1) == 1 for reason in event if reason.sick):
            assert verdict.status == "False"
