from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitors.baseline import Baseline
from monitors.baseline_folder import load_baseline
from monitors.distinct import distinct_times
from monitors.gram import profile
from monitors.judge import judge
from monitors.kept_rows import NO_ROWS, KeptRows
from monitors.summary import summarise
from monitors.window import WindowPart
from schemas.records import Finding, WindowKey
from tests.small_streams import HOURS, MOVED, MOVED_WEEK, Outcome, Watched

SENSOR, BEGIN = "s5", 100  # the hour of the week at which its fault begins


@pytest.fixture(scope="module")
def baseline(fitted: tuple[Watched, Outcome]) -> Baseline:
    """Return the baseline of the small stream."""
    return load_baseline(fitted[0].baseline)


@pytest.fixture(scope="module")
def rows(fitted: tuple[Watched, Outcome]) -> pl.DataFrame:
    """Return the rows to watch."""
    return pl.DataFrame(pq.read_table(fitted[0].current))


def first(baseline: Baseline, week: pl.DataFrame, *, kept: bool = True) -> Finding:
    """Return the first finding about a week."""
    table = pa.table(week)
    part = WindowPart(
        profile(baseline.encoder, table),
        summarise(table, baseline.stream.columns),
        {},
        distinct_times(table["time"]),
        rows=KeptRows(500, table) if kept else NO_ROWS,
    )
    return next(judge(baseline, baseline.stream, WindowKey("{}", None, None, 0), part))


def test_a_finding_says_what_is_wrong_and_since_when(
    baseline: Baseline, rows: pl.DataFrame
) -> None:
    """By the rows that the window and the baseline keep."""
    week = rows.slice(0, HOURS)
    spread = float(np.std(week[SENSOR].to_numpy()))
    broken = week.with_columns(
        pl.when(pl.int_range(HOURS) >= BEGIN)
        .then(pl.col(SENSOR) + 2 * spread)
        .otherwise(pl.col(SENSOR))
    )
    found = first(baseline, broken)
    assert found.subject == SENSOR
    assert found.alarm
    assert found.kind == "offset"
    assert found.since is not None
    assert abs(found.since - week["time"][BEGIN]) <= timedelta(hours=6)
    assert ", since " in found.explanation


def test_without_kept_rows_a_finding_has_a_kind_and_no_beginning(
    baseline: Baseline, rows: pl.DataFrame
) -> None:
    """The Gram matrices know that the shuffled sensor no longer follows the others."""
    week = rows.slice(MOVED_WEEK * HOURS, HOURS)
    for kept in (True, False):
        found = first(baseline, week, kept=kept)
        assert found.subject == MOVED
        assert found.kind == "replay"
        assert found.since is None


def test_what_did_not_move_has_no_kind(baseline: Baseline, rows: pl.DataFrame) -> None:
    """Nor a beginning."""
    found = first(baseline, rows.slice(0, HOURS))
    assert not found.alarm
    assert found.kind is None
    assert found.since is None
