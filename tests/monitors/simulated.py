"""Tables with a known law, and the binomial tolerance of what is counted on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import signal, stats

from schemas.stream import Column

Floats = NDArray[np.float64]


def chain(rng: np.random.Generator, rows: int, columns: int, rho: float = 0.7) -> Floats:
    """Return a Gaussian chain, shape (rows, columns): each column follows the one before."""
    x = rng.standard_normal((rows, columns))
    for j in range(1, columns):
        x[:, j] = rho * x[:, j - 1] + np.sqrt(1 - rho**2) * x[:, j]
    return x


def serial(rng: np.random.Generator, rows: int, columns: int, phi: float) -> Floats:
    """Return a chain whose rows are AR(1) with unit variance, shape (rows, columns)."""
    noise = chain(rng, rows + 200, columns)
    return np.asarray(signal.lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=0)[200:])


def heavy(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Return a chain with the tails of Student's t with 3 degrees of freedom."""
    return chain(rng, rows, columns) / np.sqrt(rng.chisquare(3, (rows, 1)) / 3)


def table(x: Floats, more: Mapping[str, pa.Array] | None = None) -> pa.Table:
    """Return columns x0, x1, … with NaN as null, and some more."""
    own = {f"x{j}": pa.array(x[:, j], from_pandas=True) for j in range(x.shape[1])}
    return pa.table(own | dict(more or {}))


def columns_of(rows: pa.Table) -> dict[str, Column]:
    """Return a column per column of a table, by its Arrow type."""
    kinds = {pa.float64(): "number", pa.string(): "category", pa.bool_(): "boolean"}
    return {field.name: Column.model_validate({"type": kinds[field.type]}) for field in rows.schema}


def likely(count: int, of: int, share: float) -> bool:
    """Say whether a count lies in the central 99 % of its binomial law."""
    low, high = stats.binom.ppf([0.005, 0.995], of, share)
    return bool(low <= count <= high)


def likely_at_least(count: int, of: int, share: float) -> bool:
    """Say whether a count is not below the lowest 1 % of its binomial law."""
    return bool(count >= stats.binom.ppf(0.01, of, share))
