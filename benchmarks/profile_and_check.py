"""Profiles and tests of wide tables, beside a Polars scan (the floor) and SciPy's KS tests."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.measure import (
    BIN,
    ROW_DRAWS,
    Cost,
    machine,
    made_table,
    median,
    print_table,
    run,
    work,
)
from monitors.null import DRAWS

COLUMNS = 50
WINDOW_ROWS = 100_000
IMPORTS = "import numpy, polars, pyarrow, pyarrow.parquet, scipy.special"


def main(rows: int) -> None:
    """Measure and print one table: medians of three, but for the one work that takes long."""
    first, second = (made_table(f"{rows}-{seed}.parquet", rows, COLUMNS, seed) for seed in (1, 2))
    before, window = (
        made_table(f"{WINDOW_ROWS}-{seed}.parquet", WINDOW_ROWS, COLUMNS, seed) for seed in (1, 2)
    )
    imports = run([BIN / "python", "-c", IMPORTS])
    whole = median([run([BIN / "tidegauge", "check", first, second]) for _ in range(3)])

    floor = work("means_and_deviations", first)
    peer = work("ks_of_tables", first, second, times=1)
    profile = work("profile_file", first)
    beam = work("profile_with_beam", first)
    check = Cost(whole.cpu, whole.wall, whole.peak - imports.peak, "")
    memory = work("check_in_memory", first, second)
    test = work("test_window", before, window)
    test_peer = work("ks_in_memory", before, window)
    nulls = work("fit_nulls", before, window, times=1)
    drawn = work("row_bootstrap", before, window, times=1)
    bootstrap = replace(
        drawn, cpu=drawn.cpu * DRAWS / ROW_DRAWS, wall=drawn.wall * DRAWS / ROW_DRAWS
    )

    print(f"Profile and check, {COLUMNS} columns of float64 ({machine()})\n")
    size, small = f"{rows:,}", f"{WINDOW_ROWS:,}"
    print_table(
        ("work", "rows", "CPU s", "wall s", "peak MB", "× floor", "× SciPy", "target"),
        [
            _row("floor: Polars scan, means and deviations", size, floor, floor, None),
            _row("SciPy KS column by column, two files", f"2 × {size}", peer, None, peer),
            _row("profile of a file", size, profile, floor, None, "near the floor"),
            _row(
                "the same through Beam, local runner",
                size,
                beam,
                floor,
                None,
                f"≤ 1.5 × no Beam; here {beam.cpu / profile.cpu:.2f} ×",
            ),
            _row(
                "tidegauge check, two files, whole command",
                f"2 × {size}",
                check,
                floor,
                peer,
                "near the floor",
            ),
            _row(
                "check of two tables in memory",
                f"2 × {size}",
                memory,
                floor,
                peer,
                "peak ≤ 100 MB",
            ),
            _row(
                "SciPy KS column by column, in memory", f"2 × {small}", test_peer, None, test_peer
            ),
            _row(
                "all conditional tests of a window",
                small,
                test,
                None,
                test_peer,
                "≤ 0.1 × SciPy, peak ≤ 100 MB",
            ),
            _row("fit the nulls it reads, once for a reference", small, nulls, None, test_peer),
            _row(
                f"the same test with {DRAWS} bootstraps of rows (from {ROW_DRAWS})",
                small,
                bootstrap,
                None,
                test_peer,
                f"≥ 100 × the test; here {bootstrap.cpu / test.cpu:,.0f} ×",
            ),
        ],
    )


def _row(
    what: str, rows: str, cost: Cost, floor: Cost | None, peer: Cost | None, target: str = ""
) -> tuple[str, ...]:
    return (
        what,
        rows,
        f"{cost.cpu:.2f}",
        f"{cost.wall:.2f}",
        f"{cost.peak:.0f}",
        "" if floor is None else f"{cost.cpu / floor.cpu:.1f}",
        "" if peer is None else f"{cost.cpu / peer.cpu:.2f}",
        target,
    )
