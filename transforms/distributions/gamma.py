"""Gamma distribution by its mean and shape, both > 0: the scale is mean/shape.

Mean and shape are orthogonal: the maximum-likelihood estimate of the one does not depend on the
other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammainc, gammaincinv, gammaln

Floats = NDArray[np.float64]


def log_density(y: ArrayLike, mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return log f(y); −inf for y ≤ 0."""
    y, mean, shape = (np.asarray(part, np.float64) for part in (y, mean, shape))
    outside = y <= 0
    ratio = np.where(outside, 1, y) / mean
    inside = shape * (np.log(shape) + np.log(ratio) - ratio) - gammaln(shape)
    return np.where(outside, -np.inf, inside - np.log(np.where(outside, 1, y)))


def cdf(y: ArrayLike, mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return P(Y <= y)."""
    chance: Floats = gammainc(shape, np.maximum(_rate(y, mean, shape), 0))
    return chance


def quantile(p: ArrayLike, mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return the quantile at p in (0, 1)."""
    mean, shape = np.asarray(mean, np.float64), np.asarray(shape, np.float64)
    found: Floats = gammaincinv(shape, p) * (mean / shape)
    return found


def crps(y: ArrayLike, mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return the CRPS, y (2F_k(y) − 1) − m (2F_{k+1}(y) − 1) − m/(k B(½, k)).

    F_{k+1} has the same scale (Scheuerer and Möller, Annals of Applied Statistics 2015, eq. 17).
    """
    y, mean, shape = (np.asarray(part, np.float64) for part in (y, mean, shape))
    x = np.maximum(_rate(y, mean, shape), 0)
    score: Floats = (
        y * (2 * gammainc(shape, x) - 1)
        - mean * (2 * gammainc(shape + 1, x) - 1)
        - mean / shape * np.exp(-betaln(0.5, shape))
    )
    return score


def mean(mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return the mean."""
    return np.broadcast_arrays(np.asarray(mean, np.float64), shape)[0]


def variance(mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return the variance, mean²/shape."""
    return np.asarray(mean, np.float64) ** 2 / np.asarray(shape, np.float64)


def _rate(y: ArrayLike, mean: ArrayLike, shape: ArrayLike) -> Floats:
    """Return y in units of the scale."""
    y, mean, shape = (np.asarray(part, np.float64) for part in (y, mean, shape))
    found: Floats = y * (shape / mean)
    return found
