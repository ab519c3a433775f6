"""Quantiles that cross, put in order: by sorting, by pooling, or by cutting off.

A forecast's quantiles must not decrease with the level. Where they were made level by level, or
added up level by level, they may. Sorting and pooling never increase the sum of the pinball losses
over the levels, whatever the outcome; cutting off may, although it looks the most natural
(Fakoor, Kim, Mueller, Smola and Tibshirani, JMLR 2023, Proposition 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def sort_quantiles(values: ArrayLike) -> Floats:
    """Sort each row: the rearrangement of Chernozhukov, Fernández-Val and Galichon (2010).

    Parameters
    ----------
    values : array, shape (..., levels)
        Finite, ordered by level along the last axis.

    Returns
    -------
    float64 array of the same shape, non-decreasing along the last axis.
    """
    return np.sort(np.asarray(values, np.float64), axis=-1)


def pool_adjacent_violators(values: ArrayLike) -> Floats:
    """Replace each row by the non-decreasing one nearest to it in squares: isotonic regression.

    By the max-min formula max_{a <= i} min_{b >= i} mean(v_a..v_b) (Barlow, Bartholomew, Bremner
    and Brunk, 1972), which pooling adjacent violators computes as well: here it runs over all rows
    at once, in O(levels²) for each row that is out of order. The others come back as they are.

    Parameters
    ----------
    values : array, shape (..., levels)
        Finite, ordered by level along the last axis.

    Returns
    -------
    float64 array of the same shape, non-decreasing along the last axis.
    """
    given = np.asarray(values, np.float64)
    rows = given.reshape(-1, given.shape[-1]).copy()
    crossed = (np.diff(rows, axis=1) < 0).any(axis=1)
    rows[crossed] = _pool(rows[crossed])
    return rows.reshape(given.shape)


def min_max_from_median(values: ArrayLike, median: int) -> Floats:
    """Raise each value to the largest between the median and it; lower those before the median.

    Keeps the median, at a price: a single value that is far off drags all those beyond it along,
    and the pinball loss may grow.

    Parameters
    ----------
    values : array, shape (..., levels)
        Finite, ordered by level along the last axis.
    median : int
        Position of the median, from 0.

    Returns
    -------
    float64 array of the same shape, non-decreasing along the last axis.
    """
    found = np.array(values, np.float64)
    above, below = found[..., median:], found[..., median::-1]
    np.maximum.accumulate(above, axis=-1, out=above)
    np.minimum.accumulate(below, axis=-1, out=below)
    return found


def _pool(rows: Floats) -> Floats:
    """Isotonic regression of each row, shape (n, levels), by the max-min formula.

    Exactly non-decreasing: for one `first`, the minimum is taken over fewer means as i grows; the
    maximum over more values of `first`.
    """
    levels = rows.shape[1]
    found = np.full_like(rows, -np.inf)
    for first in range(levels):
        means = np.cumsum(rows[:, first:], axis=1) / np.arange(1, levels - first + 1)
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        np.maximum(found[:, first:], least, out=found[:, first:])
    return found
