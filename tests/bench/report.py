"""What the bench leaves: a table, a JSON file with the raw latencies, a plot, and a verdict by the committed ranges."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from tests.bench.figures import Figure, Row

_RANGES = Path(__file__).with_name("ranges.yaml")
_COLUMNS = "{:<24} {:>12} {:<12} {:>10} {:>7} {:>10} {:>10}  {}"


def ranges() -> dict[str, dict[str, float]]:
    """Figure → `bar`, what the project promises, and `most`, `least` or `ratio`, what past runs allow."""
    loaded: dict[str, dict[str, float]] = yaml.safe_load(_RANGES.read_text())
    return loaded


def table(rows: Mapping[str, Row]) -> tuple[str, bool]:
    """The figures beside their floors, bars and ranges; and whether none is missed."""
    lines = [_COLUMNS.format("figure", "value", "unit", "floor", "ratio", "bar", "range", "")]
    good = True
    known = ranges()
    for figure in (figure for row in rows.values() for figure in row.figures):
        bounds = known.get(figure.name, {})
        missed = _missed(figure, bounds)
        good = good and not missed
        lines.append(
            _COLUMNS.format(
                figure.name,
                f"{figure.value:.1f}",
                figure.unit,
                _number(figure.floor),
                _number(figure.ratio),
                _number(bounds.get("bar")),
                _range(bounds),
                f"missed: {', '.join(missed)}" if missed else "",
            ).rstrip()
        )
    return "\n".join(lines), good


def _missed(figure: Figure, bounds: Mapping[str, float]) -> list[str]:
    """The names of the bounds that the figure does not keep: without a floor nobody knows its ratio."""
    keeps: dict[str, Callable[[float], bool]] = {
        "bar": lambda bound: figure.value <= bound,
        "least": lambda bound: figure.value >= bound,
        "most": lambda bound: figure.value <= bound,
        "ratio": lambda bound: figure.ratio is not None and figure.ratio <= bound,
    }
    return [name for name, bound in bounds.items() if not keeps[name](bound)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _range(bounds: Mapping[str, float]) -> str:
    signs = {"least": "≥ {:g}", "most": "≤ {:g}", "ratio": "≤ {:g} x"}
    return ", ".join(sign.format(bounds[name]) for name, sign in signs.items() if name in bounds)


def write(rows: Mapping[str, Row], folder: Path) -> None:
    """results.json and latency.png."""
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processors": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "rows": {
            name: {
                "figures": [
                    {"name": figure.name, "value": figure.value, "unit": figure.unit, "floor": figure.floor}
                    for figure in row.figures
                ],
                "latencies": {series: [round(value, 5) for value in values] for series, values in row.series.items()},
            }
            for name, row in rows.items()
        },
    }
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    _plot([pair for row in rows.values() for pair in row.series.items()], folder / "latency.png")


def _plot(series: Iterable[tuple[str, Iterable[float]]], file: Path) -> None:
    """Each series as the share of Jobs that had their pods after a time; floors are dashed."""
    import matplotlib as mpl  # slow to load, and of no use before

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 6))
    for name, values in series:
        ordered = sorted(values)
        shares = [(index + 1) / len(ordered) for index in range(len(ordered))]
        axes.step(ordered, shares, where="post", label=name, linestyle="--" if name.endswith("floor") else "-")
    axes.set(xscale="log", xlabel="seconds from the posting of a Job to its pods", ylabel="share of Jobs", ylim=(0, 1))
    axes.grid(visible=True, alpha=0.3)
    if axes.lines:
        axes.legend(loc="lower right")
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
