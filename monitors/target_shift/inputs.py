"""Rows of the reference and of a window, as the tests and the weights of target shift read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.autocorrelation import autocorrelation_time
from monitors.encoder import FloatArray, fit_encoder
from monitors.target_shift.kernel_ridge import cross_fit, deal_folds, kernel_of
from schemas.errors import ReferenceDataError, did_you_mean
from schemas.stream import Column, ColumnType

MOST_ROWS = 500  # of either set; more would take seconds
_CHANCE = 3.0  # standard errors that the first autocorrelation of independent rows stays within


@dataclass(frozen=True, slots=True)
class Rows:
    """A sample of both sets."""

    y: FloatArray  #: shape (n,), of the reference's rows with a target, in its unit
    y_after: FloatArray  #: shape (m,), of the window's; NaN where it is unknown
    inputs: FloatArray  #: shape (n + m, p): standardised on the reference, without gaps
    spacing: int  #: every k-th row was taken of those given


def sample_rows(
    before: pa.Table,
    after: pa.Table,
    target: str,
    features: Sequence[str],
    rng: np.random.Generator,
    *,
    independent: bool,
) -> Rows:
    """Return at most `MOST_ROWS` rows of either set, with their inputs encoded.

    Numbers become normal scores of the reference, categories indicators; nulls are filled as the
    row's other values suggest (`monitors.encoder`). Where rows are to be independent, only every
    k-th is taken of both sets, k the autocorrelation time of the window's inputs and targets (the
    upper decile over columns): a test that takes neighbours in a series for independent rows
    rejects whatever it is asked.

    Raises
    ------
    ReferenceDataError
        When a column is missing, the target holds no numbers, or no feature has a value.
    """
    for table, names in ((before, (target, *features)), (after, features)):
        for name in names:
            if name not in table.column_names:
                hint = did_you_mean(name, table.column_names)
                raise ReferenceDataError(
                    f"target shift of {target!r}: the rows have no column {name!r}{hint}"
                )
    known = np.isfinite(target_values(before, target))
    before = before.filter(pa.array(known))
    used = [
        name for name in features if name != target and before[name].null_count < before.num_rows
    ]
    n, m = before.num_rows, after.num_rows
    inputs = _encoded(before, after, used) if used else np.empty((n + m, 0))
    y_after = target_values(after, target)
    spacing = _dependence(inputs[n:], y_after) if independent else 1
    of_before, of_after = _chosen(n, spacing, rng), _chosen(m, spacing, rng)
    return Rows(
        y=target_values(before, target)[of_before],
        y_after=y_after[of_after],
        inputs=inputs[np.concatenate([of_before, n + of_after])],
        spacing=spacing,
    )


def target_values(table: pa.Table, target: str) -> FloatArray:
    """Return a target as floats, shape (rows,); NaN where it is null or not there at all.

    Raises
    ------
    ReferenceDataError
        When it holds no numbers.
    """
    if target not in table.column_names or pa.types.is_null(table[target].type):
        return np.full(table.num_rows, np.nan)
    kind = table[target].type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise ReferenceDataError(f"target {target!r} holds {kind} values, not numbers")
    values: FloatArray = table[target].cast(pa.float64()).to_numpy()
    return np.where(np.isfinite(values), values, np.nan)


def cross_fitted_scores(rows: Rows, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return predictions of y that have not seen it, shapes (n,) and (m,)."""
    n, m = len(rows.y), len(rows.y_after)
    folds = np.concatenate([deal_folds(n, rng), deal_folds(m, rng)])
    known = np.arange(n + m) < n
    found = cross_fit(kernel_of(rows.inputs), rows.y[:, None], folds, known)[:, 0]
    return found[:n], found[n:]


def _dependence(inputs: FloatArray, y: FloatArray) -> int:
    """Return the autocorrelation time of a window's rows, which are in order of time, in rows."""
    known = y[np.isfinite(y)]
    series = [*inputs.T, *([known] if len(known) else [])]
    times = [_own_time(values) for values in series if len(values) > 1]
    return round(float(np.quantile(times, 0.9))) if times else 1


def _own_time(values: FloatArray) -> float:
    """Return a series' autocorrelation time; 1 where its first autocorrelation may be chance."""
    centred = values - values.mean()
    square = float(centred @ centred)
    first = float(centred[1:] @ centred[:-1]) / square if square > 0.0 else 0.0
    return autocorrelation_time(values) if first * len(values) ** 0.5 > _CHANCE else 1.0


def _chosen(rows: int, spacing: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the places of every k-th row; of too many, a sample in order."""
    places = np.arange(0, rows, spacing)
    if len(places) > MOST_ROWS:
        places = np.sort(rng.choice(places, MOST_ROWS, replace=False))
    return places


def _encoded(before: pa.Table, after: pa.Table, names: Sequence[str]) -> FloatArray:
    """Return the inputs of both sets, shape (rows, p)."""
    kinds = {name: _kind(before.schema.field(name).type) for name in names}
    columns = {name: Column(type=kind) for name, kind in kinds.items()}
    before, after = (
        pa.table(
            {
                name: table[name].cast(pa.float64() if kind == "number" else pa.string())
                for name, kind in kinds.items()
            }
        )
        for table in (before, after)
    )
    encoder = fit_encoder(before, columns, features=names, window_rows=0)
    return np.vstack([encoder.encode(table)[0] for table in (before, after)])


def _kind(kind: pa.DataType) -> ColumnType:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "number" if number else "category"
