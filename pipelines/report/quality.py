"""Data quality: summaries of the columns, expectations that failed, rows that were rejected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.report.timeline import COLUMNS, Timeline
from pipelines.report.words import (
    NBSP,
    NONE,
    count,
    key_label,
    listed,
    number,
    percent,
    window_label,
)
from pipelines.run_folder import Run
from schemas.stream import Stream

MOST_COLUMNS = 100
MOST_EXPECTATIONS = 30
EXAMPLES = 3  # rejected rows per reason
_RAW = 240  # characters of a rejected row

REASONS = {
    "ragged": "the line has too few or too many fields",
    "json": "the line is not a JSON object",
    "type": "a value is not of the column's type",
    "infinite": "a value is infinite",
    "range": "a value lies outside the column's range",
    "category": "a value is not in the column's list",
    "null": "a value is missing where none may be",
    "time": "the event time is missing or cannot be read",
}


@dataclass(frozen=True, slots=True)
class ColumnRow:
    """One column over the windows of the run, all keys together."""

    name: str
    kind: str
    nulls: str
    lowest: str
    highest: str
    first: str  #: mean of the first windows
    last: str  #: mean of the last windows
    change: str  #: last − first, in standard deviations of the first windows
    nulls_change: str
    spark: str  #: points of a polyline in a box of 100 × 24


@dataclass(frozen=True, slots=True)
class Failed:
    """One expectation that failed or could not be checked, in one or more windows."""

    expectation: str
    severity: str
    result: str
    columns: str
    windows: str
    detail: str


@dataclass(frozen=True, slots=True)
class Example:
    """One rejected row."""

    where: str
    column: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class Reason:
    """The rows rejected for one reason."""

    code: str
    meaning: str
    rows: int
    examples: list[Example]


def column_rows(
    summaries: pl.DataFrame, windows: Timeline, stream: Stream
) -> tuple[list[ColumnRow], int]:
    """Return a row per column, and of how many windows `first` and `last` are."""
    several = max(1, len(windows) // 4)
    places = windows.positions()
    table = (
        summaries.group_by("column", *COLUMNS)
        .agg(
            rows=pl.col("rows").sum(),
            nulls=pl.col("nulls").sum(),
            min=pl.col("min").min(),
            max=pl.col("max").max(),
            mean=_weighted("mean"),
            var=_weighted(pl.col("std") ** 2),
        )
        .sort(*COLUMNS, nulls_last=True)
    )
    order = {name: place for place, name in enumerate(stream.columns)}
    rows = []
    for (name,), part in table.partition_by(["column"], as_dict=True).items():
        spans = part.select(COLUMNS).iter_rows()
        place = np.asarray([places[start, end, index] for start, end, index in spans])
        first = part.filter(pl.Series(place < several))
        last = part.filter(pl.Series(place >= len(windows) - several))
        rows.append(_column_row(str(name), part, first, last, stream))
    rows.sort(key=lambda row: (order.get(row.name, len(order)), row.name))
    return rows, several


def _weighted(value: str | pl.Expr) -> pl.Expr:
    """Return the mean of a summary over keys or windows, by their rows with a value."""
    values = pl.col(value) if isinstance(value, str) else value
    weight = pl.when(values.is_not_null()).then(pl.col("rows") - pl.col("nulls"))
    return (values * weight).sum() / weight.sum()


def _column_row(
    name: str, part: pl.DataFrame, first: pl.DataFrame, last: pl.DataFrame, stream: Stream
) -> ColumnRow:
    column = stream.columns.get(name)
    before, now = _value(first, _weighted("mean")), _value(last, _weighted("mean"))
    spread = _value(first, _weighted("var"))
    change = NONE
    if before is not None and now is not None and spread is not None and spread > 0:
        change = f"{(now - before) / math.sqrt(spread):+.2f}".replace("-", "−") + " σ"
    null_rate = pl.col("nulls").sum() / pl.col("rows").sum()
    nulls_before, nulls_now = _value(first, null_rate) or 0.0, _value(last, null_rate) or 0.0
    points = f"{100 * (nulls_now - nulls_before):+.1f} points".replace("-", "−")
    kind = "" if column is None else f"{column.type}, {column.role}"
    unit = "" if column is None or not column.unit else f", {column.unit}"
    return ColumnRow(
        name=name,
        kind=kind + unit,
        nulls=percent(_value(part, null_rate)),
        lowest=number(_value(part, pl.col("min").min())),
        highest=number(_value(part, pl.col("max").max())),
        first=number(before),
        last=number(now),
        change=change,
        nulls_change=points if abs(nulls_now - nulls_before) >= 0.01 else "",
        spark=_spark(part["mean"]),
    )


def _value(frame: pl.DataFrame, expression: pl.Expr) -> float | None:
    value = frame.select(expression).item()
    return None if value is None or math.isnan(value) else float(value)


def _spark(means: pl.Series) -> str:
    """Return the means of the windows as points of a polyline, at most 60 of them."""
    values = means.drop_nulls().drop_nans().to_numpy()
    values = values[:: max(1, -(-len(values) // 60))]
    if len(values) < 3:
        return ""
    low, high = values.min(), values.max()
    heights = 12.0 if high == low else 21.0 - 18.0 * (values - low) / (high - low)
    steps = np.linspace(2.0, 98.0, len(values))
    return " ".join(
        f"{x:.1f},{y:.1f}"
        for x, y in zip(steps, np.broadcast_to(heights, steps.shape), strict=True)
    )


def expectations(table: pl.DataFrame) -> tuple[str, list[Failed]]:
    """Return one sentence, and the expectations that did not pass, the most severe first."""
    if table.is_empty():
        return "No expectation was checked in this run.", []
    results = dict(table.group_by("result").len().iter_rows())
    total, failed, broken = len(table), results.get("fail", 0), results.get("error", 0)
    says = f"{count(total, 'expectation')} checked: {results.get('pass', 0):,} passed"
    says += f", {failed:,} failed"
    says += f", {broken:,} could not be evaluated." if broken else "."
    severity = pl.col("severity").replace_strict(
        {"critical": 0, "warning": 1, "info": 2}, default=3, return_dtype=pl.Int8
    )
    bad = (
        table.filter(pl.col("result") != "pass")
        .sort(*COLUMNS, "key", nulls_last=True)
        .group_by("expectation", "severity", "result", "columns", maintain_order=True)
        .agg(times=pl.len(), **{name: pl.col(name).last() for name in (*COLUMNS, "key", "detail")})
        .sort(severity, "times", descending=[False, True], maintain_order=True)
    )
    rows = []
    for row in bad.head(MOST_EXPECTATIONS).iter_rows(named=True):
        when = window_label(*(row[name] for name in COLUMNS))
        of = key_label(row["key"])
        when += f" ({of})" if of else ""
        several = f"{row['times']:,} windows, last {when}"
        result = {"fail": "failed", "error": "not evaluated"}.get(row["result"], row["result"])
        rows.append(
            Failed(
                row["expectation"],
                row["severity"],
                result,
                listed(row["columns"], 6) if row["columns"] else NONE,
                several if row["times"] > 1 else when,
                row["detail"] or NONE,
            )
        )
    return says, rows


def reject_reasons(run: Run) -> list[Reason]:
    """Return the reasons for which rows were rejected, the most frequent first."""
    groups = (
        run.scan("rejects")
        .sort("path", "row", nulls_last=True)
        .group_by("reason")
        .agg(
            count=pl.len(),
            examples=pl.struct("path", "row", "column", "detail", "raw").head(EXAMPLES),
        )
        .sort("count", "reason", descending=[True, False])
        .collect()
    )
    return [
        Reason(
            row["reason"],
            REASONS.get(row["reason"], ""),
            row["count"],
            [
                Example(
                    item["path"]
                    + (f", row{NBSP}{item['row']:,}" if item["row"] is not None else ""),
                    item["column"] or NONE,
                    item["detail"],
                    item["raw"] if len(item["raw"]) <= _RAW else item["raw"][:_RAW] + "…",
                )
                for item in row["examples"]
            ],
        )
        for row in groups.iter_rows(named=True)
    ]
