"""The checks of column summaries, and the suite of a stream as plain JSON.

A suite looks at a frame with one row per column of each window: the statistics of
`schemas.records.SUMMARY` and, beside them, the bounds that the stream file or the reference sets
for that column (missing where it sets none). So one column-pair expectation covers all columns,
and one validation covers any number of windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.summary import ColumnSummary, TableSummary
from schemas.stream import Column, Stream

#: A window is called stuck when this many of its rows were to differ from the lowest (or highest)
#: value of the reference and none did: were rows independent, a chance below e^-20.
_MOVING_ROWS = 20
#: Share of missing values: it may double and rise by 5 points, or by 5 binomial standard errors if
#: that is more, and by one row.
_NULL_RATE_RISE = 0.05
_NULL_RATE_ERRORS = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation over the frame: column `upper` is above column `lower`."""

    name: str
    severity: str  #: critical or warning
    owner: str  #: who sets the bound: the stream file or the reference
    upper: str
    lower: str
    needs: str  #: the bound a column must have for the check to concern it
    reason: str
    says: str  #: about a failing column, filled from its row of the frame
    or_equal: bool = True


NOT_NULL = Check(
    name="not_null",
    severity="critical",
    owner="stream file",
    upper="null_rate_declared",
    lower="null_rate",
    needs="null_rate_declared",
    reason="the stream file says `nullable: false`",
    says="{column}: {nulls:,} of {rows:,} rows have no value, and none may (`nullable: false`)",
)
MIN = Check(
    name="min",
    severity="critical",
    owner="stream file",
    upper="min",
    lower="min_declared",
    needs="min_declared",
    reason="the stream file gives the column a `min`",
    says="{column}: the lowest value is {min:g}, below the declared min {min_declared:g}",
)
MAX = Check(
    name="max",
    severity="critical",
    owner="stream file",
    upper="max_declared",
    lower="max",
    needs="max_declared",
    reason="the stream file gives the column a `max`",
    says="{column}: the highest value is {max:g}, above the declared max {max_declared:g}",
)
SOME_VALUE = Check(
    name="some_value",
    severity="critical",
    owner="stream file",
    upper="values",
    lower="values_needed",
    needs="values_needed",
    reason="a column that is used has at least one value",
    says="{column}: no value in {rows:,} rows, at least one is expected",
)
CONSTANT = Check(
    name="constant",
    severity="warning",
    owner="reference",
    upper="std",
    lower="std_above",
    needs="values_to_vary",
    reason="a reference that never varies cannot tell how much variation is usual",
    says="{column}: all {values:,} values are {mean:g}, some variation is expected",
    or_equal=False,
)
NULL_RATE = Check(
    name="null_rate",
    severity="warning",
    owner="reference",
    upper="null_rate_usual",
    lower="null_rate",
    needs="null_rate_reference",
    reason="values are missing about as often as in the reference",
    says="{column}: {null_rate:.1%} of {rows:,} rows have no value; {null_rate_reference:.1%} had "
    "none in the reference, and at most {null_rate_usual:.1%} is expected",
)
NEW_VALUES = Check(
    name="new_values",
    severity="warning",
    owner="reference",
    upper="new_values_usual",
    lower="new_values",
    needs="new_values_usual",
    reason="categories are those of the reference",
    says="{column}: {new_values:,.0f} of {rows:,} rows hold a value that the reference never had",
)
STUCK = Check(
    name="stuck",
    severity="warning",
    owner="reference",
    upper="std",
    lower="std_above",
    needs="values_to_vary",
    reason="a column that varies in the reference varies in a window of enough rows",
    says="{column}: all {values:,} values are {mean:g}, and the reference varies",
    or_equal=False,
)

_DECLARED = (NOT_NULL, MIN, MAX, SOME_VALUE)
_OF_REFERENCE = (*_DECLARED, CONSTANT)
_OF_WINDOWS = (*_DECLARED, NULL_RATE, NEW_VALUES, STUCK)
CHECKS = {check.name: check for check in (*_OF_REFERENCE, *_OF_WINDOWS)}


def suite(stream: Stream, reference: TableSummary | None) -> dict[str, Any]:
    """Return the suite of a stream, as JSON that `great_expectations.ExpectationSuite` takes.

    Parameters
    ----------
    stream : Stream
    reference : TableSummary or None
        What windows are compared with. None gives the suite of the reference itself.

    Returns
    -------
    dict
        `meta["bounds"]` holds the bounds of each column. A check that concerns no column is left
        out.
    """
    bounds = {
        name: _bounds(column, None if reference is None else reference.columns.get(name))
        for name, column in stream.columns.items()
    }
    if reference is None:
        for name in stream.with_role("feature", "condition", "target"):
            if stream.columns[name].type not in ("category", "timestamp"):
                bounds[name]["values_to_vary"] = 2.0
    return {
        "name": f"{stream.name}: {'the reference' if reference is None else 'windows'}",
        "expectations": [
            {
                "type": "expect_column_pair_values_a_to_be_greater_than_b",
                "kwargs": {
                    "column_A": check.upper,
                    "column_B": check.lower,
                    "or_equal": check.or_equal,
                    "ignore_row_if": "either_value_is_missing",
                },
                "severity": check.severity,
                "meta": {"name": check.name, "owner": check.owner, "reason": check.reason},
            }
            for check in (_OF_REFERENCE if reference is None else _OF_WINDOWS)
            if any(check.needs in bound for bound in bounds.values())
        ],
        "meta": {"bounds": bounds},
    }


def frame(
    summary_rows: Sequence[Mapping[str, Any]], bounds: Mapping[str, Mapping[str, float]]
) -> dict[str, NDArray[Any]]:
    """Return the frame that a suite looks at, as NumPy columns (NaN: no bound, or no statistic).

    Parameters
    ----------
    summary_rows : rows of `schemas.records.SUMMARY`
    bounds : mapping of column name to its bounds
        `meta["bounds"]` of the suite.
    """
    own = [bounds.get(row["column"], {}) for row in summary_rows]

    def bound(name: str) -> NDArray[np.float64]:
        return np.array([each.get(name, math.nan) for each in own])

    def statistic(name: str) -> NDArray[np.float64]:
        return np.array([row[name] for row in summary_rows], dtype=np.float64)  # None becomes NaN

    rows, nulls = (np.array([row[name] for row in summary_rows]) for name in ("rows", "nulls"))
    values, usual = rows - nulls, bound("null_rate_reference")
    row = 1 / np.maximum(rows, 1)
    errors = _NULL_RATE_ERRORS * np.sqrt(usual * (1 - usual) * row)
    rise = np.maximum(usual + _NULL_RATE_RISE, errors) + row
    return {
        "column": np.array([row["column"] for row in summary_rows], dtype=object),
        "rows": rows,
        "nulls": nulls,
        "values": values,
        **{name: statistic(name) for name in ("null_rate", "min", "max", "mean", "std")},
        "new_values": statistic("new_values"),
        **{name: bound(name) for name in ("null_rate_declared", "min_declared", "max_declared")},
        **{name: bound(name) for name in ("values_needed", "new_values_usual")},
        "null_rate_reference": usual,
        "null_rate_usual": np.minimum(usual + rise, 1.0),
        "std_above": np.where(values >= bound("values_to_vary"), 0.0, math.nan),
    }


def _bounds(column: Column, seen: ColumnSummary | None) -> dict[str, float]:
    """Return the bounds of a column; one whose role is `ignore` has those it declares only."""
    found: dict[str, float | None] = {
        "null_rate_declared": None if column.nullable else 0.0,
        "min_declared": column.min,
        "max_declared": column.max,
    }
    if column.role != "ignore":
        found["values_needed"] = 1.0
        if seen is not None:
            found["null_rate_reference"] = seen.null_rate
            found["new_values_usual"] = 0.0 if column.type == "category" else None
            if column.type in ("number", "integer"):
                found["values_to_vary"] = _values_to_vary(seen)
    return {name: value for name, value in found.items() if value is not None}


def _values_to_vary(seen: ColumnSummary) -> float | None:
    """Return how many values a window needs before their being all equal is worth a word.

    Let a be the lowest, or the highest, value. By Cauchy-Schwarz E[x - a]² ≤ E[(x - a)²] P(x ≠ a):
    a share of at least g² / (g² + 1) of the rows differs from it, with g = |mean - a| / std. So
    rainfall, which is mostly zero, needs many more values than a temperature.
    """
    if seen.min is None or seen.max is None or seen.mean is None or not seen.std:
        return None
    gap = min(seen.mean - seen.min, seen.max - seen.mean) / seen.std
    return _MOVING_ROWS * (1 + 1 / gap**2) if gap > 1e-9 else None
