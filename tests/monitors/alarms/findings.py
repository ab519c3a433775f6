"""Findings made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa

from schemas.records import FINDING, Finding
from schemas.stream import Stream

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def stream_of(**alarms: str) -> Stream:
    """Return a stream of daily windows."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "s",
            "source": {"path": "now.csv"},
            "reference": {"path": "then.csv"},
            "time": {"column": "time"},
            "columns": {name: {"type": "number"} for name in "xyz"},
            "window": {"length": "1d"},
            "alarms": alarms,
        }
    )


def finding(day: int, p: float = 0.5, **changes: Any) -> dict[str, Any]:
    """Return a finding about x on a day, with a p-value; by itself it alarms below 1e-3."""
    evidence = -float(pl.Series([p]).log10()[0])
    values: dict[str, Any] = {
        "stream": "s",
        "key": "{}",
        "window_start": T0 + day * DAY,
        "window_end": T0 + (day + 1) * DAY,
        "window_index": None,
        "monitor": "feature_shift",
        "method": "moments",
        "subject": "x",
        "status": "tested",
        "statistic": evidence,
        "threshold": 3.0,
        "p_value": p,
        "effect": 1.0,
        "alarm": evidence > 3.0,
        "rank": 1,
        "explanation": f"day {day}",
        "rows": 24,
        "baseline_id": "b",
        "p_adjusted": p,
    }
    return Finding(**(values | changes)).as_row()


def untested(day: int, **changes: Any) -> dict[str, Any]:
    """Return a finding about x on a day that could not be tested."""
    names = ("statistic", "threshold", "p_value", "effect", "rank", "p_adjusted")
    nothing: dict[str, Any] = dict.fromkeys(names)
    return finding(day, **{**nothing, "status": "not_tested", "alarm": False, **changes})


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return findings as a table."""
    found = pl.DataFrame(pa.Table.from_pylist(list(rows), FINDING))
    assert isinstance(found, pl.DataFrame)
    return found
