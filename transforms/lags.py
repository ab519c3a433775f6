"""Lagged values: what numbers were a given time ago, so that a series' own past explains it.

Rows come in any order and in any pieces. Each piece of one key and span of time is brought together
with the rows of earlier spans that its lags reach back to (its halo), and joined with them by time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.duration import parse_duration
from schemas.stream import Column, Stream

Places = NDArray[np.int64]

LAGGED = Column(type="number", role="condition")
_AT = "__at"
_DAY = 86_400.0
_LAGS_PER_SPAN = 4  # the longest lag's halo then adds a quarter to the rows


def with_lags(
    rows: pa.Table,
    at: Places,
    past: pa.Table,
    past_at: Places,
    lags: Mapping[str, tuple[str, int]],
) -> pa.Table:
    """Append what features were a lag earlier.

    Parameters
    ----------
    rows : any table.
    at : shape (n,)
        The place of each row: its time in microseconds, or its number.
    past : table of the features alone, all numbers; rows in any order.
    past_at : shape (m,)
        Their places. Of rows at one place the median counts, whatever their order.
    lags : for each new column its feature, and the lag in units of `at`.

    Returns
    -------
    pa.Table
        The rows with the new columns, float64, as they are named in `lags`; null where `past` has
        no row at exactly that place, or no value in it.
    """
    past, places = _one_each(past, past_at)
    found = {
        lag: pc.index_in(pa.array(at - lag), value_set=places)
        for lag in {lag for _, lag in lags.values()}
    }
    for name, (feature, lag) in lags.items():
        rows = rows.append_column(name, past[feature].cast(pa.float64()).take(found[lag]))
    return rows


def with_lags_of_keys(table: pa.Table, stream: Stream) -> pa.Table:
    """Append a stream's lags to a table that holds all of its rows, in the order of their keys."""
    assert stream.time is not None  # noqa: S101 (lags need it)
    group = np.zeros(table.num_rows)
    if stream.key:
        keys = pl.DataFrame(pl.from_arrow(table.select(list(stream.key))))
        group = keys.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy()
    order = np.argsort(group, kind="stable")
    lags = lags_of(stream)
    features = sorted({feature for feature, _ in lags.values()})
    parts = []
    for own in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows = table.take(own)
        at = rows[stream.time.column].cast(pa.int64()).to_numpy()
        parts.append(with_lags(rows, at, rows.select(features), at, lags))
    return pa.concat_tables(parts)


def _one_each(past: pa.Table, at: Places) -> tuple[pa.Table, pa.Array]:
    """Return one row for each place, of medians where there are more, and the places."""
    if len(np.unique(at)) == len(at):
        return past, pa.array(at)
    frame = pl.DataFrame(pl.from_arrow(past)).with_columns(pl.Series(_AT, at))
    medians = frame.group_by(_AT).agg(pl.all().median())
    return medians.drop(_AT).to_arrow(), pa.array(medians[_AT].to_numpy())


def lags_of(stream: Stream) -> dict[str, tuple[str, int]]:
    """Return for each column that a stream's lags add its feature, and the lag in microseconds."""
    return {name: (feature, _micros(lag)) for name, (feature, lag) in stream.lagged.items()}


def lags_of_rows(features: list[str], lags: list[int]) -> dict[str, tuple[str, int]]:
    """Return the same for lags counted in rows."""
    return {
        f"{name} {lag} row{'s' * (lag > 1)} ago": (name, lag) for lag in lags for name in features
    }


def span_seconds(stream: Stream) -> float:
    """Return the length of the spans of time that are joined at once: a window, or a day.

    It decides on the cost alone: the rows of one span and key are in memory together.
    """
    longest = max(parse_duration(lag) for lag in stream.lags)
    return max(stream.window.length_seconds or _DAY, _LAGS_PER_SPAN * longest)


def halo(times: Places, span: int, lags: Iterable[int]) -> tuple[Places, Places]:
    """Return the rows that spans later than their own reach back to.

    Parameters
    ----------
    times : shape (n,), in microseconds.
    span : length of a span, in microseconds.
    lags : in microseconds.

    Returns
    -------
    rows, spans : shape (k,)
        Indices into `times`, and the number of the span that needs the row; no pair twice.
    """
    later = [(times + lag) // span for lag in set(lags)]
    pairs = [np.argwhere(spans > times // span) for spans in later]
    pairs = [np.column_stack([rows, spans[rows]]) for rows, spans in zip(pairs, later, strict=True)]
    rows, spans = np.unique(np.concatenate(pairs), axis=0).T
    return rows, spans


def _micros(lag: str) -> int:
    return round(parse_duration(lag) * 1e6)
