"""The rows of the reference that were made under the window's conditions.

These are the same time of day and year, and values alike in the columns that only explain.

A week of September differs from a whole year in everything. Compared with other weeks around it, at
the same hours, it differs in what changed. This is matching on covariates (Rubin 1973, Biometrics
29, 159–183): to every row of the window its nearest rows of the reference, each used once.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from schemas.stream import Stream
from transforms.calendar import calendar_terms

NEAREST = 4  # rows of the reference to a row of the window
LEAST_ROWS = 100  # fewer matched rows than that say less than all of them


def matched(before: pa.Table, after: pa.Table, stream: Stream) -> pa.Table:
    """Return the rows of the reference that match those of a window, in their order.

    All of them where the stream has neither calendar nor conditions, or too few rows match.
    """
    from scipy.spatial import KDTree

    if not before.num_rows or not after.num_rows:
        return before
    both = _conditions(pa.concat_tables([before, after], promote_options="default"), stream)
    if not both.shape[1]:
        return before
    usual, now = both[: before.num_rows], both[before.num_rows :]
    count = min(NEAREST, before.num_rows)
    _, near = KDTree(usual).query(now, k=count)
    rows: NDArray[np.intp] = np.unique(near)
    return before if len(rows) < LEAST_ROWS else before.take(pa.array(rows))


def _conditions(rows: pa.Table, stream: Stream) -> FloatArray:
    """Return what the rows are matched on, shape (rows, conditions), each of comparable spread."""
    parts: list[FloatArray] = []
    if stream.time is not None and stream.calendar:
        parts.append(calendar_terms(rows[stream.time.column], stream.calendar))
    for name in stream.with_role("condition"):
        column = rows[name]
        if stream.columns[name].type in ("number", "integer"):
            values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            known = values[np.isfinite(values)]
            spread = float(known.std()) if len(known) else 0.0
            if spread > 0:
                parts.append(((values - known.mean()) / spread)[:, None])
        elif stream.columns[name].type != "timestamp":
            codes = column.cast(pa.string()).dictionary_encode().combine_chunks()
            found = codes.indices.fill_null(-1).to_numpy()
            parts.append((found[:, None] == np.arange(len(codes.dictionary))).astype(np.float64))
    if not parts:
        return np.empty((rows.num_rows, 0))
    return np.nan_to_num(np.hstack(parts))
