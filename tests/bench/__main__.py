"""`python -m tests.bench [ROW…]` measures the operator in the cluster of KUBECONFIG (docs/performance.md)."""

import asyncio
import sys
from pathlib import Path

from tests.bench import report
from tests.bench.figures import Row
from tests.bench.rows import ROWS
from tests.bench.world import BenchError, world

_RESULTS = Path(__file__).parents[2] / "build" / "bench"


async def run(wanted: list[str], found: dict[str, Row]) -> None:
    """Measures the rows, one after the other, each on a clean cluster."""
    async with world() as place:
        for name in wanted:
            print(f"» {name}: {(ROWS[name].__doc__ or '').splitlines()[0]}", file=sys.stderr)
            found[name] = await ROWS[name](place)
            await place.clean()


def main(arguments: list[str]) -> int:
    """0 when no figure misses its bar or its range. Rows before one that failed are reported."""
    if unknown := [name for name in arguments if name not in ROWS]:
        print(f"error: no row {', '.join(unknown)}: choose from {', '.join(ROWS)}", file=sys.stderr)
        return 2
    rows: dict[str, Row] = {}
    good = True
    try:
        asyncio.run(run(arguments or list(ROWS), rows))
    except (BenchError, KeyboardInterrupt) as error:
        print(f"error: {error or 'interrupted'}", file=sys.stderr)
        good = False
    report.write(rows, _RESULTS)
    text, within = report.table(rows)
    print(text)
    return 0 if good and within else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
