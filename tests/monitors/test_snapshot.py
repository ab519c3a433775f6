from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from monitors.snapshot import (
    SCORE_BUCKETS,
    RunSnapshot,
    latest_findings,
    score_intervals,
    take_snapshot,
)
from schemas.records import RECORDS, Finding

T0 = datetime(2013, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)


def table(name: str, rows: list[dict[str, object]]) -> pl.LazyFrame:
    """Return rows as a table of a run."""
    return pl.DataFrame(pa.Table.from_pylist(rows, schema=RECORDS[name])).lazy()


def finding(**changes: Any) -> dict[str, object]:
    """Return a finding of feature_shift on x in the first day, with changes."""
    values: dict[str, Any] = {
        "stream": "s",
        "key": "{}",
        "window_start": T0,
        "window_end": T0 + DAY,
        "window_index": None,
        "monitor": "feature_shift",
        "method": "moments",
        "subject": "x",
        "status": "tested",
        "statistic": 1.2,
        "threshold": 3.0,
        "p_value": 0.06,
        "effect": 0.1,
        "alarm": False,
        "rank": 1,
        "explanation": "",
        "rows": 24,
        "baseline_id": "b",
    }
    return Finding(**(values | changes)).as_row()


def day(number: int) -> dict[str, datetime]:
    """Return the window of a day, counted from 0."""
    return {"window_start": T0 + number * DAY, "window_end": T0 + (number + 1) * DAY}


def snapshot(**rows: list[dict[str, object]]) -> RunSnapshot:
    """Reduce a run with these tables."""
    return take_snapshot({}, lambda name: table(name, rows.get(name, [])))


def test_latest_window_is_one_for_all_keys() -> None:
    """A key that has gone silent does not keep its last alarm."""
    rows = [
        finding(key='{"k":"a"}', alarm=True),
        finding(key='{"k":"b"}', **day(3)),
        finding(key='{"k":"c"}', **day(3)),
    ]
    latest = latest_findings(table("findings", rows)).collect()
    assert latest["key"].to_list() == ['{"k":"b"}', '{"k":"c"}']


def test_latest_window_is_one_per_monitor() -> None:
    """A monitor whose labels come late has its own latest window."""
    rows = [finding(**day(3)), finding(monitor="coverage", subject="y", alarm=True)]
    latest = latest_findings(table("findings", rows)).collect()
    assert sorted(latest["monitor"]) == ["coverage", "feature_shift"]


def test_latest_window_in_rows_is_one_per_key() -> None:
    """Windows counted in rows have no common clock."""
    no_time: dict[str, Any] = {"window_start": None, "window_end": None}
    rows = [
        finding(key='{"k":"a"}', window_index=0, **no_time),
        finding(key='{"k":"a"}', window_index=7, statistic=7.0, **no_time),
        finding(key='{"k":"b"}', window_index=2, statistic=2.0, **no_time),
    ]
    latest = latest_findings(table("findings", rows)).collect()
    assert sorted(latest["statistic"]) == [2.0, 7.0]


def test_alarms_count_windows_and_not_features() -> None:
    """Three features that alarm in one window are one alarm; each key's window is its own."""
    rows = [
        *(finding(subject=name, alarm=True) for name in "xyz"),
        finding(key='{"k":"a"}', alarm=True),
        finding(alarm=True, **day(1)),
        finding(**day(2)),
    ]
    reduced = snapshot(findings=rows)
    assert reduced.alarms.rows() == [("feature_shift", 3)]
    assert reduced.windows == 3


def test_last_revision_of_a_finding_counts() -> None:
    """A revised finding replaces the one before, and is not counted beside it."""
    rows = [finding(revision=1, statistic=0.4), finding(revision=0, statistic=9.0, alarm=True)]
    reduced = snapshot(findings=rows)
    assert reduced.alarms.is_empty()
    assert reduced.latest["statistic"].to_list() == [0.4]
    assert reduced.scores["count"].to_list() == [1]


def test_scores_are_a_cumulative_histogram_of_tested_features() -> None:
    """Each bucket counts the scores up to its edge; what was not tested is not counted."""
    values = [0.5, 0.7, 3.0, 3.1, 80.0]
    rows = [finding(subject=f"x{i}", statistic=value) for i, value in enumerate(values)]
    rows += [
        finding(subject="idle", status="not_tested", statistic=None),
        finding(monitor="coverage", subject="y", statistic=5.0),
    ]
    scores = snapshot(findings=rows).scores.row(0, named=True)
    for edge in SCORE_BUCKETS:
        assert scores[str(edge)] == sum(value <= edge for value in values)
    assert scores["count"] == 5
    assert scores["sum"] == pytest.approx(sum(values))


def test_watermark_is_the_end_of_the_latest_window_of_any_table() -> None:
    """A window that closed with a summary and no finding moves the watermark too."""
    summary = {
        "stream": "s", "key": "", **day(4), "column": "x", "rows": 1, "nulls": 0, "null_rate": 0.0,
    }  # fmt: skip
    assert snapshot(findings=[finding()], summaries=[summary]).watermark == T0 + 5 * DAY
    assert snapshot().watermark is None


def test_intervals_are_scored_once_their_outcome_is_known() -> None:
    """Outcomes on the ends of the interval are inside; null and NaN outcomes are not scored."""
    row = {
        "stream": "s", "key": "{}", "levels": [], "quantiles": [], "lower": 1.0, "upper": 3.0,
        "model_id": "m", "calibration": "c", "path": "p", "row": 0,
    }  # fmt: skip
    outcomes: dict[str, list[float | None]] = {
        "a": [0.9, 1.0, 2.0, 3.0, 3.1, 9.0, None, float("nan")],
        "b": [None],
    }
    rows = [
        {**row, "target": target, "outcome": outcome}
        for target, values in outcomes.items()
        for outcome in values
    ]
    scored = score_intervals(table("forecasts", rows)).collect()
    assert scored.to_dicts() == [
        {"target": "a", "scored": 6, "below": 1, "above": 2, "width": 12.0}
    ]


def test_rejects_and_expectations_are_counted() -> None:
    """One row per reason, and one per severity and result."""
    reject = {"stream": "s", "path": "p", "detail": "", "raw": ""}
    check = {"stream": "s", "key": "{}", "expectation": "e", "columns": [], "detail": ""}
    reduced = snapshot(
        rejects=[{**reject, "reason": reason} for reason in ("type", "range", "type")],
        expectations=[
            {**check, "severity": "warning", "result": result}
            for result in ("pass", "fail", "pass", "pass")
        ],
    )
    assert reduced.rejects.rows() == [("range", 1), ("type", 2)]
    assert reduced.expectations.rows() == [("warning", "fail", 1), ("warning", "pass", 3)]


def test_stretches_of_the_reference_count_once() -> None:
    """However often it was their turn; another key's are others."""
    row: dict[str, object] = {
        "stream": "s",
        "key": "{}",
        "monitor": "feature_shift",
        "baseline_id": "b",
        "block": 8,
        "blocks": 8,
        "statistic": 1.0,
        "threshold": 3.0,
        "level": 0.01,
        "alarm": False,
        **day(0),
    }
    rows = [row, row | day(1), row | {"block": 16, "alarm": True}, row | {"key": '{"k":1}'}]
    assert snapshot(sentinels=rows).sentinel.rows() == [(3, 1, 0.01)]
    assert snapshot().sentinel.rows() == [(0, 0, None)]
