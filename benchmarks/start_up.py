"""`tidegauge check` on small tables, as a multiple of importing what it cannot do without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import BIN, ROOT, Cost, machine, made_table, median, print_table, run

ROWS, COLUMNS = 1_000, 25
HEAVY = ("apache_beam", "great_expectations", "lightgbm", "matplotlib", "pandas", "scipy.stats")
_PROBE = f"""
import atexit, sys
from pipelines.cli import main
atexit.register(lambda: print(*[m for m in {HEAVY!r} if sys.modules.get(m)], file=sys.stderr))
main()
"""


def main() -> None:
    """Measure and print one table."""
    imports = _three([str(BIN / "python"), "-c", "import numpy, polars, pyarrow"])
    rows = [_row("import numpy, polars, pyarrow", imports, imports)]
    for kind in ("csv", "parquet"):
        tables = [made_table(f"{ROWS}-{seed}.{kind}", ROWS, COLUMNS, seed) for seed in (1, 2)]
        command = [str(BIN / "tidegauge"), "check", *map(str, tables)]
        rows.append(_row(f"tidegauge check, {kind}", _three(command), imports))
    print(f"Start-up, 2 × {ROWS:,} rows × {COLUMNS} columns ({machine()})\n")
    print_table(("command", "CPU s", "wall s", "peak MB", "wall × imports"), rows)
    found = _heavy(tables)
    print(f"of {', '.join(HEAVY)}, it loads: {', '.join(found) or 'none'}\n")
    if found:
        sys.exit(1)


def _three(command: Sequence[str]) -> Cost:
    return median([run(command) for _ in range(3)])


def _heavy(tables: Sequence[Path]) -> list[str]:
    """Return the heavy modules that are loaded when the command ends."""
    command = [str(BIN / "python"), "-c", _PROBE, "check", *map(str, tables)]
    process = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return process.stderr.split()


def _row(what: str, cost: Cost, imports: Cost) -> tuple[str, ...]:
    return (
        what,
        f"{cost.cpu:.2f}",
        f"{cost.wall:.2f}",
        f"{cost.peak:.0f}",
        f"{cost.wall / imports.wall:.1f}",
    )
