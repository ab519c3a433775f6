"""A long table as series on a grid of whole steps, one after another in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import SourceError, did_you_mean
from transforms.forecast.panel.design import PLACE, SERIES, Design, micros_of
from transforms.timestamps import to_utc

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Table: TypeAlias = pa.Table | pl.DataFrame

_MOST_EMPTY = 50  # steps for each row: beyond, the step is wrong, or a time is


@dataclass(frozen=True, slots=True)
class Panel:
    """The rows of all series, at most one for each step, and the target without gaps."""

    keys: pl.DataFrame  #: SERIES and the key columns, one row for each series, in their order
    rows: pl.DataFrame  #: SERIES, PLACE and the columns read, in that order
    first: Places  #: step of each series' first row, shape (series,)
    starts: Places  #: where each series begins in `target`, and its end, shape (series + 1,)
    target: Floats  #: every step of each series from its first row to its last; NaN where missing

    @property
    def series(self) -> int:
        """How many series there are."""
        return len(self.first)

    @property
    def lengths(self) -> Places:
        """Steps from the first row of each series to its last, both counted."""
        return np.diff(self.starts)

    def at(self, series: Places, places: Places) -> Floats:
        """Return the target of series at steps, arrays that broadcast; NaN where there is none."""
        if not len(self.target):
            return np.full(np.broadcast_shapes(series.shape, places.shape), np.nan)
        inside = places - self.first[series]
        known = (inside >= 0) & (inside < self.lengths[series])
        found = self.target[np.where(known, self.starts[series] + inside, 0)]
        return np.where(known, found, np.nan)

    def recent(self, series: Places, issue: Places, steps: int) -> Floats:
        """Return the last values up to the issue, oldest first, shape (n, steps)."""
        return self.at(series[:, None], issue[:, None] + np.arange(1 - steps, 1))

    def until(self, place: int) -> Panel:
        """Return what was known once a step had come; a series may have no step yet."""
        lengths = np.clip(place - self.first + 1, 0, self.lengths)
        kept = np.arange(len(self.target)) < np.repeat(self.starts[:-1] + lengths, self.lengths)
        return Panel(
            keys=self.keys,
            rows=self.rows.filter(pl.col(PLACE) <= place),
            first=self.first,
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            target=self.target[kept],
        )

    def columns_at(self, names: tuple[str, ...], series: Places, places: Places) -> pl.DataFrame:
        """Return other columns of series at steps, shape (n, names); null where there is none."""
        asked = pl.DataFrame({SERIES: series, PLACE: places})
        wanted = self.rows.select(SERIES, PLACE, *names)
        return asked.join(wanted, on=[SERIES, PLACE], how="left", maintain_order="left").select(
            names
        )


def read_panel(table: Table, design: Design, issue: datetime | None = None) -> Panel:
    """Lay the rows of a table on the grid.

    Rows come in any order. Each belongs to the step its time is nearest; of several at one step the
    median counts (of texts the first by alphabet), whatever their order. Rows without a time are
    left out. Of rows later than an issue only the columns known ahead are read, even where they are
    nearest to its step.

    Raises
    ------
    SourceError
        When columns are missing, no row has a time, the target is no number, or almost all steps
        are empty.
    """
    frame = _frame(table, design, issue)
    places = design.places(frame[design.time].to_numpy())
    others = [design.target, *dict.fromkeys([*design.known, *design.at_issue])]
    rows = frame.select(*design.key, *others).with_columns(pl.Series(PLACE, places))
    keys = rows.select(design.key).unique().sort(design.key) if design.key else pl.DataFrame()
    keys = pl.DataFrame({SERIES: np.arange(max(1, keys.height))}).hstack(keys)
    if design.key:
        rows = rows.join(keys, on=list(design.key), how="left", nulls_equal=True)
    else:
        rows = rows.with_columns(pl.lit(0, pl.Int64).alias(SERIES))
    rows = _one_each(rows.select(SERIES, PLACE, *others).sort(SERIES, PLACE))
    series, places = rows[SERIES].to_numpy(), rows[PLACE].to_numpy()
    begin = np.searchsorted(series, np.arange(keys.height + 1))
    first, last = places[begin[:-1]], places[begin[1:] - 1]
    starts = np.concatenate([[0], np.cumsum(last - first + 1)])
    if starts[-1] > _MOST_EMPTY * rows.height + 10**6:
        raise SourceError(
            f"the series' rows fill {rows.height} of {starts[-1]} steps of "
            f"{design.step / 1e6:g} s from their first to their last; give a longer `step`, or "
            f"look for times in {design.time!r} that are far from all others"
        )
    target = np.full(starts[-1], np.nan)
    values = rows[design.target].cast(pl.Float64).fill_null(np.nan).to_numpy()
    target[starts[series] + places - first[series]] = np.where(np.isfinite(values), values, np.nan)
    return Panel(keys=keys, rows=rows, first=first, starts=starts, target=target)


def common_phase(table: Table, time: str, zone: str, step: int) -> int:
    """Return where within a step most rows lie, in microseconds; 0 without rows."""
    micros = _micros(_polars(table)[time], zone).drop_nulls().to_numpy()
    if not len(micros):
        return 0
    found, counts = np.unique(micros % step, return_counts=True)
    return int(found[counts.argmax()])


def _frame(table: Table, design: Design, issue: datetime | None) -> pl.DataFrame:
    """Return the columns that are read, of rows with a time; that in microseconds since 1970."""
    wanted = [design.time, *design.key, design.target, *design.known, *design.at_issue]
    for name in wanted:
        names = table.columns if isinstance(table, pl.DataFrame) else table.column_names
        if name not in names:
            raise SourceError(f"the table has no column {name!r}{did_you_mean(name, names)}")
    frame = _polars(table).select(list(dict.fromkeys(wanted)))
    kind = frame[design.target].dtype
    if not (kind.is_numeric() or kind == pl.Null):
        raise SourceError(f"target {design.target!r} holds {kind} values, not numbers")
    timed = frame.with_columns(_micros(frame[design.time], design.zone)).drop_nulls(design.time)
    if timed.is_empty():
        raise SourceError(f"no row of {frame.height} has a time in {design.time!r}")
    if issue is None:
        return timed
    past = pl.col(design.time) <= micros_of(issue)
    return timed.with_columns(pl.when(past).then(pl.col(design.target, *design.at_issue)))


def _polars(table: Table) -> pl.DataFrame:
    return table if isinstance(table, pl.DataFrame) else pl.DataFrame(pl.from_arrow(table))


def _micros(times: pl.Series, zone: str) -> pl.Series:
    """Return times as microseconds since 1970; null where there is none."""
    utc = to_utc(pa.chunked_array([times.to_arrow()]), zone)
    return pl.Series(times.name, utc.cast(pa.int64()))


def _one_each(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each series and step of sorted rows."""
    series, places = rows[SERIES].to_numpy(), rows[PLACE].to_numpy()
    if not ((series[1:] == series[:-1]) & (places[1:] == places[:-1])).any():
        return rows
    numbers = [name for name, kind in rows.schema.items() if kind.is_numeric()]
    return rows.group_by(SERIES, PLACE, maintain_order=True).agg(
        pl.col(name).median() if name in numbers else pl.col(name).min()
        for name in rows.columns
        if name not in (SERIES, PLACE)
    )
