"""Normal distribution: mean `loc`, standard deviation `scale` > 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]

_LOG_ROOT_TWO_PI = 0.5 * np.log(2 * np.pi)


def log_density(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Floats:
    """Return log f(y)."""
    z = _standard(y, loc, scale)
    found: Floats = -0.5 * z * z - np.log(scale) - _LOG_ROOT_TWO_PI
    return found


def cdf(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Floats:
    """Return P(Y <= y)."""
    chance: Floats = ndtr(_standard(y, loc, scale))
    return chance


def quantile(p: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Floats:
    """Return the quantile at p in (0, 1)."""
    found: Floats = np.asarray(loc, np.float64) + np.asarray(scale, np.float64) * ndtri(p)
    return found


def crps(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Floats:
    """Return the CRPS, σ (z (2Φ(z) − 1) + 2φ(z) − 1/√π), Gneiting et al., MWR 2005, eq. 5."""
    z = _standard(y, loc, scale)
    density = np.exp(-0.5 * z * z - _LOG_ROOT_TWO_PI)
    score: Floats = np.asarray(scale, np.float64) * (
        z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)
    )
    return score


def mean(loc: ArrayLike, scale: ArrayLike) -> Floats:
    """Return the mean, `loc`."""
    return np.broadcast_arrays(np.asarray(loc, np.float64), scale)[0]


def variance(loc: ArrayLike, scale: ArrayLike) -> Floats:
    """Return the variance, `scale`²."""
    return np.broadcast_arrays(np.asarray(scale, np.float64) ** 2, loc)[0]


def _standard(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Floats:
    y, loc, scale = (np.asarray(part, np.float64) for part in (y, loc, scale))
    z: Floats = (y - loc) / scale
    return z
