"""CPU seconds from an alarm to its explanation, of a window of 100,000 rows and 50 columns.

Run by ``python -m benchmarks.explain_window``; a minute or two, nearly all of it fit and run of
the stream. A column is off by 0.5 from the window's middle on. What is measured begins with an open
run folder: finding and evidence are read, the baseline is opened and checked, the cause is put
together, and it is rendered as text or as a page. Once with the imports that this takes, in a
process that has none of them, and once more without.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

ROWS, COLUMNS, REFERENCE = 100_000, 50, 600_000
MOVED, OFFSET = "x7", 0.5
_MEASURED = """
import sys, time
began = time.process_time()
{imports}
from pathlib import Path
from pipelines.run_folder import open_run
run = open_run({run!r})
for call in range(2):
    start = time.process_time() if call else began
    {statement}
    print(time.process_time() - start)
"""
PARTS = {
    "as text, in the terminal": (
        (
            "from pipelines.cli.app import import_without; import_without('pandas', 'sklearn'); "
            "from pipelines.explain import explain_finding"
        ),
        "explain_finding(run, {finding!r})",
    ),
    "as a page of HTML": (
        "from pipelines.report.finding_page import render_finding",
        "render_finding(run, {finding!r})",
    ),
}


def rows(count: int, first: int, *, moved: bool) -> pl.DataFrame:
    """Return rows a second apart, of columns that share five causes, in order of time."""
    rng = np.random.default_rng([7, first])
    loadings = np.random.default_rng(7).normal(size=(5, COLUMNS))
    values = rng.normal(size=(count, 5)) @ loadings + rng.normal(size=(count, COLUMNS))
    if moved:
        values[count // 2 :, int(MOVED[1:])] += OFFSET
    start = datetime.fromtimestamp(17_000 * ROWS + first, UTC)  # where a window begins
    times = pl.datetime_range(
        start, start + timedelta(seconds=count - 1), "1s", time_unit="us", eager=True
    )
    frame = pl.DataFrame(values, schema=[f"x{number}" for number in range(COLUMNS)])
    return frame.insert_column(0, times.alias("time"))


def prepare(folder: Path) -> tuple[Path, str]:
    """Fit and run a stream with one fault; return the run folder and the id of its alarm."""
    from pipelines.fit import fit
    from pipelines.run import run
    from pipelines.tick import Job
    from schemas.stream_file import load_stream

    rows(REFERENCE, 0, moved=False).write_parquet(folder / "reference.parquet")
    rows(ROWS, REFERENCE, moved=True).write_parquet(folder / "current.parquet")
    stream = {
        "tidegauge": 1,
        "name": "wide",
        "source": {"path": str(folder / "current.parquet")},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "columns": {f"x{number}": {"type": "number"} for number in range(COLUMNS)},
        "window": {"length": f"{ROWS}s"},
        "forecasts": [{"target": "x0", "features": [f"x{number}" for number in range(1, 21)]}],
        "monitors": {"expectations": False},
        "alarms": {"false": "1 per 500 windows"},
    }
    (folder / "wide.yaml").write_text(json.dumps(stream))
    loaded = load_stream(folder / "wide.yaml")
    fit(loaded, folder / "baseline")
    done = run(Job(loaded, folder / "baseline", folder / "run"))
    found = done.table("findings").filter("alarm", subject=MOVED)
    return done.folder, str(found["id"][0])


def main() -> None:
    """Print the CPU seconds of each way to show it, with and without its imports."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        run, finding = prepare(Path(folder))
        print(f"fit and run: {time.process_time() - start:.0f} s CPU", flush=True)
        print(f"{'':26}{'with imports':>14}{'without':>10}  (CPU seconds)")
        for name, (imports, statement) in PARTS.items():
            code = _MEASURED.format(
                imports=imports, run=str(run), statement=statement.format(finding=finding)
            )
            said = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            first, second = (float(line) for line in said.stdout.split())
            print(f"{name:26}{first:>14.2f}{second:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
