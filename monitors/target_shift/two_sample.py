"""Kernel tests of whether two sets of rows have one law: as they are, and given something.

The statistic is the squared maximum mean discrepancy (Gretton et al., JMLR 2012), a quadratic form
of the kernel matrix in the signs of the sets. Under the null of one law, signs may be permuted.
Under the null of one law *given* something, only rows alike in that may exchange theirs: they are
permuted within strata. What is compared is then the residual of a pooled regression, so that the
strata need not carry what the regression does, and conversely; its kernel is multiplied by one over
what is given, so that a change that is positive here and negative there is seen as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray

DRAWS = 199
_LOCAL = 4.0  # weight of changes that depend on what is given, beside those that do not


def p_moved(kernel: FloatArray, in_after: NDArray[np.bool_], rng: np.random.Generator) -> float:
    """Return the p-value of: both sets have one law.

    Parameters
    ----------
    kernel : FloatArray, shape (rows, rows), of both sets together.
    in_after : bool array, shape (rows,)
    """
    return p_given(kernel, in_after, np.zeros(len(in_after), np.int64), rng)


def p_given(
    kernel: FloatArray,
    in_after: NDArray[np.bool_],
    strata: NDArray[np.int64],
    rng: np.random.Generator,
) -> float:
    """Return the p-value of: within each stratum, both sets have one law.

    Parameters
    ----------
    kernel : FloatArray, shape (rows, rows), such as `residual_kernel` gives.
    in_after : bool array, shape (rows,)
    strata : int64 array, shape (rows,): from 0.
    """
    side = in_after.astype(np.float64)
    share = np.bincount(strata, side) / np.maximum(np.bincount(strata), 1)
    sides = np.vstack([side, _permuted(side, strata, rng)]) - share[strata]
    found = ((sides @ kernel) * sides).sum(axis=1)
    # rounding: a permutation that changes nothing gives the same sum but for its last digits
    return float(np.mean(found >= found[0] * (1.0 - 1e-9)))


def residual_kernel(residual: FloatArray, given: FloatArray) -> FloatArray:
    """Return the kernel of residuals times one of what they are given, shape (rows, rows).

    The first is centred: it compares the residuals only, not how often `given` occurs in each set.

    Parameters
    ----------
    residual : FloatArray, shape (rows, k), of unit scale.
    given : FloatArray, shape (rows, d), standardised.
    """
    product: FloatArray = _centred(median_kernel(residual)) * (
        1.0 + _LOCAL * _centred(median_kernel(given))
    )
    return product


def median_kernel(X: FloatArray) -> FloatArray:
    """Return exp(−|x_i − x_j|² / median), shape (rows, rows)."""
    distance = squared_distances(X)
    scale = float(np.median(distance))
    kernel: FloatArray = np.exp(-distance / (scale if scale > 0.0 else 1.0))
    return kernel


def squared_distances(X: FloatArray) -> FloatArray:
    """Return the squared distances between all rows, shape (rows, rows)."""
    square = (X**2).sum(axis=1)
    distance: FloatArray = np.maximum(square[:, None] + square - 2.0 * (X @ X.T), 0.0)
    return distance


def equal_strata(values: FloatArray, count: int) -> NDArray[np.int64]:
    """Return the stratum of each value, of `count` with near equal numbers of rows; ties by place.

    Parameters
    ----------
    values : FloatArray, shape (rows,)
    """
    strata = np.empty(len(values), np.int64)
    strata[np.argsort(values, kind="stable")] = np.arange(len(values)) * count // len(values)
    return strata


def _permuted(side: FloatArray, strata: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
    """Return the sides permuted within strata, shape (DRAWS, rows)."""
    keys = rng.random((DRAWS, len(side))) + strata
    target = np.argsort(strata, kind="stable")
    permuted = np.empty((DRAWS, len(side)))
    permuted[:, target] = side[np.argsort(keys, axis=1)]
    return permuted


def _centred(kernel: FloatArray) -> FloatArray:
    mean = kernel.mean(axis=0)
    centred: FloatArray = kernel - mean - mean[:, None] + mean.mean()
    return centred
