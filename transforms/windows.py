"""Cuts checked rows by key and by span: windows and blocks of event time, or of row counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.contract import ROW

NO_KEY = "{}"


def time_spans(times: pa.ChunkedArray, seconds: float) -> NDArray[np.int64]:
    """Number the spans of event time, from the epoch on.

    Parameters
    ----------
    times : timestamp[us, UTC], without nulls.
    seconds : length of a span.
    """
    micros: NDArray[np.int64] = times.cast(pa.int64()).to_numpy()
    return micros // round(seconds * 1e6)


def row_spans(table: pa.Table, first_row: int, rows: int) -> NDArray[np.int64]:
    """Number the spans of a row count; `first_row` is the source's position of the file's first."""
    positions: NDArray[np.int64] = table[ROW].to_numpy() + first_row
    return positions // rows


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one key and one span: a slice of a table that `gather` ordered."""

    key: str  #: as JSON
    span: int
    start: int
    stop: int


def gather(
    table: pa.Table, key: Sequence[str], spans: NDArray[np.int64]
) -> tuple[pa.Table, list[Group]]:
    """Bring the rows of every key and span together, in the order they had, and say where they are.

    The groups come in the order of their first rows. The table is ordered as a whole: a batch may
    hold a few rows of each of thousands of keys.
    """
    if not len(spans):
        return table, []
    codes = np.unique(spans, return_inverse=True)[1]
    for name in key:
        values = table[name].combine_chunks().dictionary_encode().indices.to_numpy()
        codes = np.unique(codes * (int(values.max()) + 1) + values, return_inverse=True)[1]
    first = np.unique(codes, return_index=True)[1]
    codes = np.argsort(np.argsort(first))[codes]
    first = np.sort(first)
    keys = zip(*(table[name].take(pa.array(first)).to_pylist() for name in key), strict=True)
    texts = [key_text(key, values) for values in keys] if key else [NO_KEY] * len(first)
    if np.any(codes[1:] < codes[:-1]):
        table = table.take(pa.array(np.argsort(codes, kind="stable")))
    stops = np.cumsum(np.bincount(codes)).tolist()
    starts = [0, *stops[:-1]]
    return table, [
        Group(*group) for group in zip(texts, spans[first].tolist(), starts, stops, strict=True)
    ]


def split(
    table: pa.Table, key: Sequence[str], spans: NDArray[np.int64]
) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield (key as JSON, span number, rows) for every key and span of a table, rows in order."""
    gathered, groups = gather(table, key, spans)
    for group in groups:
        yield group.key, group.span, gathered.slice(group.start, group.stop - group.start)


def places(groups: Sequence[Group]) -> NDArray[np.int64]:
    """Return the group of each row of a table that `gather` ordered."""
    sizes = [group.stop - group.start for group in groups]
    return np.repeat(np.arange(len(groups)), sizes)


def key_text(key: Sequence[str], values: Sequence[object]) -> str:
    """Return a key as a JSON object, such as ``{"airport": "LGA"}``."""
    return json.dumps(dict(zip(key, map(str, values), strict=True)), ensure_ascii=False)


def key_texts(table: pa.Table, key: Sequence[str]) -> list[str]:
    """Return the key of each row as a JSON object."""
    columns = [table[name].to_pylist() for name in key]
    rows = zip(*columns, strict=True) if key else [()] * table.num_rows
    return [key_text(key, values) for values in rows]
