"""The mergeable summary of each column of a set of rows: counts, range, mean and spread.

Summaries merge by the pairwise update of Chan, Golub and LeVeque (1979, STAN-CS-79-773, eq. 2.1):
merging the summaries of any split of the rows equals summarising the whole, up to rounding.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from schemas.errors import BaselineError
from schemas.records import WindowKey
from schemas.stream import Column

_NONE_KNOWN: Mapping[str, frozenset[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What the values of one column look like.

    Booleans count as 0 and 1, timestamps as seconds since 1970 (UTC). Categories have no numbers.
    """

    rows: int
    nulls: int
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    m2: float = 0.0  #: sum of squared deviations from the mean, at most the largest float
    new_values: int | None = None  #: rows with a value the reference never had; None: not counted

    @property
    def values(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.nulls

    @property
    def null_rate(self) -> float:
        """Share of rows without a value; 0 when there are no rows."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def std(self) -> float | None:
        """Sample standard deviation; None below two values."""
        if self.mean is None or self.values < 2:
            return None
        return math.sqrt(self.m2 / (self.values - 1))


@dataclass(frozen=True, slots=True)
class TableSummary:
    """The summaries of the columns of one set of rows; the empty one is the identity of `merge`."""

    columns: dict[str, ColumnSummary] = field(default_factory=dict)

    def rows(self, stream: str, window: WindowKey, revision: int = 0) -> list[dict[str, object]]:
        """Return one row of `schemas.records.SUMMARY` per column, in the stream file's order."""
        about = {
            "stream": stream,
            "key": window.key,
            "window_start": window.start,
            "window_end": window.end,
            "window_index": window.index,
        }
        return [
            {
                **about,
                "column": name,
                "rows": column.rows,
                "nulls": column.nulls,
                "null_rate": column.null_rate,
                "min": column.min,
                "max": column.max,
                "mean": column.mean,
                "std": column.std,
                "new_values": column.new_values,
                "revision": revision,
            }
            for name, column in self.columns.items()
        ]

    def to_json(self) -> str:
        """Return the summary as JSON; every float survives exactly."""
        return _JSON.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> TableSummary:
        """Read what `to_json` wrote.

        Raises
        ------
        BaselineError
            When the text is damaged.
        """
        try:
            return _JSON.validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "the text"
            raise BaselineError(
                f"the column summaries are damaged: {where}: {fault['msg']}; "
                "run `tidegauge fit` again"
            ) from error


_JSON = TypeAdapter(TableSummary)


def summarise(
    table: pa.Table,
    columns: Mapping[str, Column],
    known: Mapping[str, frozenset[str]] = _NONE_KNOWN,
) -> TableSummary:
    """Summarise the columns of a table in one pass.

    Parameters
    ----------
    table : pa.Table
        Typed rows (see `transforms.contract`). NaN and infinities count as nulls.
    columns : mapping of column name to its entry in the stream file
    known : mapping of category column to the values of the reference
        Where a column has an entry, rows with any other value are counted in `new_values`.
    """
    frame = pl.DataFrame(table.select(list(columns)))
    wanted = _wanted(columns, known)
    found = frame.select(wanted).row(0, named=True) if wanted else {}
    return _table_summary(frame, columns, found)


def summarise_groups(
    table: pa.Table,
    columns: Mapping[str, Column],
    rows: Sequence[int],
    known: Mapping[str, frozenset[str]] = _NONE_KNOWN,
) -> list[TableSummary]:
    """Summarise groups of rows that follow each other, each of at least one row; see `summarise`.

    Parameters
    ----------
    rows : number of rows of each group.
    """
    frame = pl.DataFrame(table.select(list(columns)))
    group = pl.Series("\0group", np.repeat(np.arange(len(rows)), rows))
    found = (
        frame.group_by(group, maintain_order=True)
        .agg(_wanted(columns, known))
        .iter_rows(named=True)
    )
    starts = np.cumsum([0, *rows]).tolist()
    return [
        _table_summary(frame.slice(start, count), columns, one)
        for start, count, one in zip(starts, rows, found, strict=False)
    ]


def _wanted(columns: Mapping[str, Column], known: Mapping[str, frozenset[str]]) -> list[pl.Expr]:
    wanted: list[pl.Expr] = []
    for name, column in columns.items():
        wanted.append(pl.col(name).null_count().alias(f"{name}\0nulls"))
        if column.type != "category":
            numbers = _numbers(name, column)
            wanted += [
                numbers.min().alias(f"{name}\0min"),
                numbers.max().alias(f"{name}\0max"),
                numbers.mean().alias(f"{name}\0mean"),
                numbers.var(ddof=0).alias(f"{name}\0var"),
            ]
        elif name in known:
            new = ~pl.col(name).is_in(sorted(known[name]))
            wanted.append(new.sum().alias(f"{name}\0new"))
    return wanted


def _table_summary(
    frame: pl.DataFrame, columns: Mapping[str, Column], found: Mapping[str, Any]
) -> TableSummary:
    rows = frame.height
    return TableSummary(
        {
            name: _column_summary(frame, name, column, rows, found)
            for name, column in columns.items()
        }
    )


def merge(a: TableSummary, b: TableSummary) -> TableSummary:
    """Return the summary of the rows of both; a column that one side lacks is taken as it is."""
    merged = dict(a.columns)
    for name, column in b.columns.items():
        merged[name] = _merge_columns(merged[name], column) if name in merged else column
    return TableSummary(merged)


def _numbers(name: str, column: Column) -> pl.Expr:
    if column.type == "timestamp":
        return pl.col(name).dt.timestamp("us")
    return pl.col(name).cast(pl.UInt8) if column.type == "boolean" else pl.col(name)


def _column_summary(
    frame: pl.DataFrame, name: str, column: Column, rows: int, found: Mapping[str, Any]
) -> ColumnSummary:
    nulls = int(found[f"{name}\0nulls"])
    if column.type == "category":
        return ColumnSummary(rows, nulls, new_values=found.get(f"{name}\0new"))
    if nulls == rows:
        return ColumnSummary(rows, nulls)
    low, high, mean, var = (
        float(found[f"{name}\0{part}"]) for part in ("min", "max", "mean", "var")
    )
    m2 = var * (rows - nulls)
    if column.type == "timestamp":  # summarised in whole microseconds, which floats hold exactly
        low, high, mean, m2 = low / 1e6, high / 1e6, mean / 1e6, m2 / 1e12
    if not all(map(math.isfinite, (low, high, mean, m2))):
        return _beyond_range(frame.get_column(name), rows)
    if low == high:
        mean, m2 = low, 0.0  # a constant has no spread, whatever the rounding of its mean says
    return ColumnSummary(rows, nulls, low, high, min(max(mean, low), high), m2)


def _beyond_range(series: pl.Series, rows: int) -> ColumnSummary:
    """Summarise floats that are not all finite, or whose sums overflow."""
    values = series.drop_nulls().to_numpy().astype(np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return ColumnSummary(rows, rows)
    mean = float((values / n).sum())
    with np.errstate(over="ignore"):
        m2 = min(float(((values - mean) ** 2).sum()), sys.float_info.max)
    return ColumnSummary(rows, rows - n, float(values.min()), float(values.max()), mean, m2)


def _merge_columns(a: ColumnSummary, b: ColumnSummary) -> ColumnSummary:
    rows, nulls = a.rows + b.rows, a.nulls + b.nulls
    counted = [part.new_values for part in (a, b) if part.new_values is not None]
    new_values = sum(counted) if counted else None
    if a.min is None or a.max is None or a.mean is None:
        return ColumnSummary(rows, nulls, b.min, b.max, b.mean, b.m2, new_values)
    if b.min is None or b.max is None or b.mean is None:
        return ColumnSummary(rows, nulls, a.min, a.max, a.mean, a.m2, new_values)
    share = b.values / (a.values + b.values)
    # Weighted, not `a + share * (b - a)`: symmetric, and the difference may overflow.
    mean = a.mean * (1 - share) + b.mean * share
    low, high = min(a.min, b.min), max(a.max, b.max)
    gap = b.mean - a.mean
    m2 = min(a.m2 + b.m2 + gap * gap * share * a.values, sys.float_info.max)
    return ColumnSummary(rows, nulls, low, high, min(max(mean, low), high), m2, new_values)
