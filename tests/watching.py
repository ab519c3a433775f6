"""A stream that is followed by a process of its own, watched from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import polars as pl

from pipelines.run_folder import Run, open_run
from tests.small_streams import Watched, start

_PATIENCE = 90.0  # seconds


def findings(run: Run) -> pl.DataFrame:
    """Return the findings of a run, without how often they were told."""
    return run.table("findings").sort("id").drop("revision")


def following(watched: Watched) -> subprocess.Popen[str]:
    """Start following the stream."""
    return start("run", watched.file, "--follow", "--every", "0.2")


def wait_for(watched: Watched, true: Callable[[Run], bool], process: subprocess.Popen[str]) -> Run:
    """Wait until a run says something."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        if (watched.run / "run.json").exists() and true(open_run(watched.run)):
            return open_run(watched.run)
        time.sleep(0.1)
    raise AssertionError("it never came")


def windows_are(count: int) -> Callable[[Run], bool]:
    """Say whether so many windows were judged."""
    return lambda run: run.manifest["windows"] == count
