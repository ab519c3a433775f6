"""Measures a command by what the kernel says of its process: CPU, wall time and peak memory.

The parent stays small (standard library only): a process starts with the peak of the one it was
forked from.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROW_DRAWS = 10  # of a bootstrap of rows, of which 499 would take too long
BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / ".data"
#: one thread everywhere, so that CPU seconds are work and not threads waiting for each other
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
_PACKAGES = ("numpy", "scipy", "polars", "pyarrow", "apache-beam")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    cpu: float  #: seconds, user and system
    wall: float  #: seconds
    peak: float  #: MB, of the resident set
    output: str


def run(command: Sequence[str | Path]) -> Cost:
    """Run a command once and return its cost.

    Raises
    ------
    SystemExit
        When the command fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | _ONE_THREAD
    )
    output = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"benchmarks: {' '.join(map(str, command))} failed ({process.returncode})")
    unit = 1e-6 if sys.platform == "darwin" else 1.024e-3  # bytes there, KiB here
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * unit, output)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the run whose CPU time is the median (the lower one of an even number)."""
    middle = statistics.median_low([cost.cpu for cost in costs])
    return next(cost for cost in costs if cost.cpu == middle)


def work(name: str, *arguments: str | Path, times: int = 3) -> Cost:
    """Return what a workload took in a process of its own, without imports and preparation.

    Of several runs, the one with the median CPU time.
    """
    costs = []
    for _ in range(times):
        whole = run([sys.executable, "-m", "benchmarks.workloads", name, *arguments])
        costs.append(Cost(**json.loads(whole.output.splitlines()[-1])))
    return median(costs)


def made_table(name: str, rows: int, columns: int, seed: int) -> Path:
    """Return a made-up table of the data folder, written the first time it is asked for."""
    path = DATA / name
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        (DATA / ".gitignore").write_text("*\n")
        draft = path.with_stem("draft")
        work("make_table", draft, str(rows), str(columns), str(seed), times=1)
        draft.replace(path)
    return path


def machine() -> str:
    """Say on what the figures were measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()}-core {platform.machine()}, one thread, "
        f"Python {platform.python_version()}, {packages}"
    )


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    for row in (header, rule, *rows):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")
    print(flush=True)
