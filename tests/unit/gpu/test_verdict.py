"""Verdicts over several probes: what counts at once, what must last, what is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from batchai.gpu.findings import Finding, Reason
from batchai.gpu.verdict import PROBES, WELL_PROBES, Standing, Streaks, Verdict, settle

BOOTED = datetime(2026, 5, 4, tzinfo=UTC)
HEALTHY = Finding(Reason.HEALTHY, "GPUs that are well: 1")
NO_ACCESS = Finding(Reason.NO_ACCESS, "not found")
ECC = Finding(Reason.ECC_ERRORS, "GPU 0: uncorrectable memory errors: 1")
XID = Finding(Reason.XID_ERROR, "GPU 0: XID 79")


@dataclass
class Node:
    """A node that remembers its verdict, and an agent that remembers its streaks until it restarts."""

    standing: Standing | None = None
    streaks: Streaks = field(default_factory=dict)
    now: datetime = BOOTED + timedelta(hours=1)
    booted: datetime = BOOTED

    def probe(self, *found: Finding) -> str | None:
        """The verdict's reason after a probe."""
        verdict, self.streaks = settle(self.standing, found, self.streaks, booted=self.booted)
        if verdict is not None and (self.standing is None or verdict != self.standing.verdict):
            self.standing = Standing(verdict, self.now)
        self.now += timedelta(seconds=15)
        return self.standing.verdict.reason if self.standing else None

    def probes(self, count: int, *found: Finding) -> Sequence[str | None]:
        return [self.probe(*found) for _ in range(count)]

    def restart(self) -> None:
        self.streaks = {}

    def reboot(self) -> None:
        self.restart()
        self.now += timedelta(minutes=5)
        self.booted = self.now

    @property
    def verdict(self) -> Verdict:
        assert self.standing is not None
        return self.standing.verdict


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.sick])
def test_a_fault_counts_after_so_many_probes_in_a_row(reason: Reason) -> None:
    node, needed = Node(), PROBES.get(reason, 1)
    assert node.probe(HEALTHY) == "Healthy"
    assert node.probes(needed - 1, Finding(reason, "x")) == ["Healthy"] * (needed - 1)
    if needed > 1:
        assert node.probe(HEALTHY) == "Healthy"
        node.probes(needed - 1, Finding(reason, "x"))
    assert node.probe(Finding(reason, "x")) == reason
    assert node.verdict.status == "False"


def test_nothing_is_said_before_anything_is_known() -> None:
    node = Node()
    assert node.probe(Finding(Reason.SLOWED_DOWN, "x")) is None


def test_a_sick_node_is_well_after_so_many_probes_in_a_row() -> None:
    node = Node()
    assert node.probe(ECC) == "EccErrors"
    assert node.probes(WELL_PROBES - 1, HEALTHY) == ["EccErrors"] * (WELL_PROBES - 1)
    node.restart()
    assert node.probes(WELL_PROBES - 1, HEALTHY) == ["EccErrors"] * (WELL_PROBES - 1)
    assert node.probe(HEALTHY) == "Healthy"
    assert node.verdict == Verdict("True", "Healthy", HEALTHY.text)


def test_a_fault_that_is_still_too_young_starts_the_count_again() -> None:
    node = Node()
    node.probe(ECC)
    node.probes(WELL_PROBES - 1, HEALTHY)
    assert node.probe(Finding(Reason.SLOWED_DOWN, "x")) == "EccErrors"
    assert node.probes(WELL_PROBES - 1, HEALTHY)[-1] == "EccErrors"


def test_a_gpu_that_cannot_be_seen_is_not_well() -> None:
    node = Node()
    assert node.probe(NO_ACCESS) == "NoAccess"
    assert node.verdict.status == "Unknown"
    node.probe(ECC)
    assert set(node.probes(3 * WELL_PROBES, NO_ACCESS)) == {"EccErrors"}
    assert node.probes(WELL_PROBES, Finding(Reason.NO_GPU, "none"))[-1] == "NoGpu"
    assert node.verdict.status == "Unknown"


def test_the_first_reason_leads_and_names_all_its_gpus() -> None:
    node = Node()
    lost = Finding(Reason.GPU_LOST, "GPU 2: GPU is lost")
    other = Finding(Reason.ECC_ERRORS, "GPU 1: uncorrectable memory errors: 4")
    node.probe(ECC, other)
    assert node.verdict == Verdict("False", "EccErrors", f"{ECC.text}; {other.text}")
    node.probe(ECC, lost, other)
    assert node.verdict == Verdict("False", "GpuLost", lost.text)


def test_an_xid_stands_until_the_node_is_booted_again() -> None:
    node = Node()
    node.probe(ECC)
    assert node.probe(ECC, XID) == "XidError"
    second = Finding(Reason.XID_ERROR, "GPU 1: XID 48")
    node.restart()
    node.probe(HEALTHY)
    node.probe(second)
    node.probe(XID)
    assert node.verdict == Verdict("False", "XidError", f"{XID.text}; {second.text}")
    assert set(node.probes(3 * WELL_PROBES, HEALTHY)) == {"XidError"}
    node.reboot()
    assert node.probes(WELL_PROBES - 1, HEALTHY) == ["XidError"] * (WELL_PROBES - 1)
    assert node.probe(HEALTHY) == "Healthy"


def test_an_xid_of_this_boot_on_a_node_that_was_sick_before_stands() -> None:
    node = Node()
    node.probe(ECC)
    node.reboot()
    node.probe(XID)
    assert set(node.probes(3 * WELL_PROBES, HEALTHY)) == {"XidError"}


def test_removing_the_condition_forgives_an_xid() -> None:
    node = Node()
    node.probe(XID)
    node.standing = None
    assert node.probe(HEALTHY) == "Healthy"
