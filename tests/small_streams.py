"""A small stream to run commands on: eight correlated sensors, hourly, 30 weeks and then 8 more."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd  # noqa: F401 (loaded before `check` keeps it from being loaded in this process)
import polars as pl

from pipelines.cli import main

ROOT = Path(__file__).parents[1]
START = datetime(2024, 1, 4, tzinfo=UTC)  # a Thursday, as the epoch: weekly windows begin here
HOURS = 168  # of a week
REFERENCE_WEEKS, CURRENT_WEEKS = 30, 8
SENSORS = tuple(f"s{number}" for number in range(1, 9))
MOVED, MOVED_WEEK = "s3", 5  # the sensor that is shuffled, and the week of the current rows


@dataclass(frozen=True, slots=True)
class Watched:
    """A small stream in a folder of its own."""

    folder: Path

    @property
    def file(self) -> Path:
        """The stream file."""
        return self.folder / "stream.yaml"

    @property
    def baseline(self) -> Path:
        """The baseline folder."""
        return self.folder / "stream.baseline"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "stream.run"

    @property
    def current(self) -> Path:
        """The rows to watch."""
        return self.folder / "current.parquet"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit code, and what it said where."""

    code: int
    out: str
    err: str


def tidegauge(*argv: str | Path) -> Outcome:
    """Run the command within this process, as a shell would."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["tidegauge", *map(str, argv)]),
        patch.object(sys, "meta_path", list(sys.meta_path)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        finally:
            logging.disable(logging.NOTSET)
    return Outcome(code, out.getvalue(), err.getvalue())


def start(*argv: str | Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from pipelines.cli import main; main()", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )


def in_process(*argv: str | Path, cwd: Path | None = None) -> Outcome:
    """Run the command as a process of its own."""
    with start(*argv, cwd=cwd) as process:
        out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out, err)


def sensor_rows(weeks: int, *, first_week: int = 0, seed: int = 1) -> pl.DataFrame:
    """Return hourly rows of eight sensors that share three slowly moving causes."""
    rng = np.random.default_rng([seed, first_week])
    rows = weeks * HOURS
    causes = np.zeros((rows, 3))
    shocks = rng.normal(size=(rows, 3))
    for hour in range(1, rows):
        causes[hour] = 0.8 * causes[hour - 1] + 0.6 * shocks[hour]
    loadings = np.random.default_rng(seed).normal(size=(3, len(SENSORS)))
    values = causes @ loadings + 0.5 * rng.normal(size=(rows, len(SENSORS)))
    first = START + timedelta(weeks=first_week)
    times = pl.Series("time", [first + timedelta(hours=hour) for hour in range(rows)])
    return pl.DataFrame(values, schema=list(SENSORS)).insert_column(
        0, times.cast(pl.Datetime("us", "UTC"))
    )


def reference_rows() -> pl.DataFrame:
    """Return the reference."""
    return sensor_rows(REFERENCE_WEEKS)


def current_rows() -> pl.DataFrame:
    """Return the rows to watch: in one week, one sensor's values are shuffled."""
    table = sensor_rows(CURRENT_WEEKS, first_week=REFERENCE_WEEKS)
    values = table[MOVED].to_numpy().copy()
    week = slice(MOVED_WEEK * HOURS, (MOVED_WEEK + 1) * HOURS)
    values[week] = np.random.default_rng(3).permutation(values[week])
    return table.with_columns(pl.Series(MOVED, values))


def stream_file(folder: Path, **changes: Any) -> Path:
    """Write a stream file (JSON is YAML) for `reference.parquet` and `current.parquet`."""
    stream: dict[str, Any] = {
        "tidegauge": 1,
        "name": "sensors",
        "source": {"path": str(folder / "current.parquet")},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "columns": {name: {"type": "number"} for name in SENSORS},
        "window": {"length": "7d"},
        "monitors": {"expectations": False},  # heavy to import; tests that need them ask for them
        "alarms": {"false": "1 per 200 windows"},
        **changes,
    }
    file = folder / "stream.yaml"
    file.write_text(json.dumps({k: v for k, v in stream.items() if v is not None}, indent=1))
    return file
