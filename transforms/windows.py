"""Cuts checked rows by key and by span: windows and blocks of event time, or of row counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from transforms.contract import ROW

_SPAN = "__span"
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


def split(
    table: pa.Table, key: Sequence[str], spans: NDArray[np.int64]
) -> Iterator[tuple[str, int, pa.Table]]:
    """Yield (key as JSON, span number, rows) for every key and span of a table, rows in order."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 (a table gives a frame)
    parts = frame.with_columns(pl.Series(_SPAN, spans)).partition_by(
        [*key, _SPAN], as_dict=True, maintain_order=True
    )
    for group, part in parts.items():
        *values, span = group
        yield key_text(key, values), int(span), part.drop(_SPAN).to_arrow()


def key_text(key: Sequence[str], values: Sequence[object]) -> str:
    """Return a key as a JSON object, such as ``{"airport": "LGA"}``."""
    return json.dumps(dict(zip(key, map(str, values), strict=True)), ensure_ascii=False)
