"""The rows of a reference and of a window side by side, as the mechanisms' models read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.encoder import ROWS_PER_TERM, FloatArray, fit_encoder
from schemas.stream import Column

BLOCKS = 40  # of each table: rows near each other in time are alike, and err together
FOLDS = 5
FURTHEST = 5.0  # standard deviations: farther values say no more


@dataclass(frozen=True, slots=True)
class Encoded:
    """Basis columns of the rows of the reference, then of the window; n rows in all."""

    phi: FloatArray  #: shape (n, p), without gaps; see `monitors.encoder`
    groups: Mapping[str, NDArray[np.intp]]  #: basis columns of each column
    measured: Mapping[str, FloatArray]  #: numbers, shape (n,), in the reference's deviations
    window: NDArray[np.bool_]  #: shape (n,)
    folds: NDArray[np.intp]  #: shape (n,): neighbouring rows share one
    blocks: NDArray[np.intp]  #: shape (n,)

    def of(self, columns: Sequence[str]) -> FloatArray:
        """Return the basis columns of some columns."""
        places = [self.groups[name] for name in columns]
        return self.phi[:, np.concatenate(places) if places else np.empty(0, np.intp)]

    def block_sums(self, values: FloatArray) -> FloatArray:
        """Return the sums over the rows of each block, shape (blocks, ...)."""
        sums = np.zeros((int(self.blocks.max()) + 1, *values.shape[1:]))
        np.add.at(sums, self.blocks, values)
        return sums


def encode_both(
    before: pa.Table, after: pa.Table, columns: Mapping[str, Column], names: Sequence[str]
) -> Encoded:
    """Encode the named columns of two tables by a basis fixed on the first.

    Raises
    ------
    ReferenceDataError
        One of the columns has no value in `before`.
    """
    enough = ROWS_PER_TERM * 2 * len(names)  # rows of a window: two terms for every number
    encoder = fit_encoder(before, columns, features=names, window_rows=enough)
    phi = np.concatenate([encoder.encode(table)[0] for table in (before, after)])
    measured = {}
    for coding in encoder.features:
        if coding.kind == "numeric":
            values = numbers(before, after, coding.name)
            own = values[: before.num_rows]
            scaled = (values - np.nanmean(own)) / np.nanstd(own)
            measured[coding.name] = np.nan_to_num(np.clip(scaled, -FURTHEST, FURTHEST))
    parts = [
        np.arange(table.num_rows) * min(BLOCKS, table.num_rows) // table.num_rows
        for table in (before, after)
    ]
    return Encoded(
        phi=phi,
        groups=dict(zip(names, encoder.groups, strict=True)),
        measured=measured,
        window=np.arange(len(phi)) >= before.num_rows,
        folds=np.concatenate(parts) % FOLDS,
        blocks=np.concatenate([parts[0], parts[1] + parts[0].max() + 1]),
    )


def numbers(before: pa.Table, after: pa.Table, name: str) -> FloatArray:
    """Return a column of both tables, NaN where missing."""
    parts = [
        table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for table in (before, after)
    ]
    return np.concatenate(parts)
