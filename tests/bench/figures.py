"""What a row of the bench finds out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """A number with a name of its own; floor: the same of a bare client in the same run."""

    name: str
    value: float
    unit: str
    floor: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the floor."""
        return self.value / self.floor if self.floor else None


@dataclass(frozen=True)
class Row:
    """Figures, and the raw latencies in seconds behind them."""

    figures: Sequence[Figure]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def latency(name: str, values: Sequence[float], floor: Sequence[float]) -> list[Figure]:
    """The median and the 99th percentile, in milliseconds."""
    return [
        Figure(f"{name}.{label}", 1000 * percentile(values, share), "ms", 1000 * percentile(floor, share))
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]
