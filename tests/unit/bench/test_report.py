"""The bench's verdict: a bound that is missed is named, and fails the run."""

import pytest
from tests.bench import report
from tests.bench.figures import Figure, Row


@pytest.mark.parametrize(
    ("figure", "missed"),
    [
        (Figure("f", 10, "s", 5), ""),
        (Figure("f", 11, "s", 6), "missed: bar"),
        (Figure("f", 0, "s", 1), "missed: least"),
        (Figure("f", 21, "s", 20), "missed: bar, most"),
        (Figure("f", 10, "s", 4), "missed: ratio"),
        (Figure("f", 10, "s"), "missed: ratio"),
        (Figure("unknown", 1000, "s"), ""),
    ],
)
def test_a_missed_bound_is_named_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, figure: Figure, missed: str
) -> None:
    monkeypatch.setattr(report, "ranges", lambda: {"f": {"bar": 10, "least": 1, "most": 20, "ratio": 2}})
    text, good = report.table({"row": Row([figure])})
    assert good == (not missed)
    assert text.splitlines()[1].endswith(missed or ("≥ 1, ≤ 20, ≤ 2 x" if figure.name == "f" else "s"))


def test_the_committed_ranges_have_bounds_that_the_report_knows() -> None:
    rows = {name: Row([Figure(name, 1, "s", 1)]) for name in report.ranges()}
    assert len(report.table(rows)[0].splitlines()) == len(rows) + 1
