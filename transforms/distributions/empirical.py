"""The distribution of a sample: distribution function, quantiles, CRPS, moments; it has no density.

A sample is sorted along its last axis, shape (..., k), one for all rows or one for each; no NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def cdf(y: ArrayLike, sample: ArrayLike) -> Floats:
    """Return the share of the sample at or below y, of the shape of y and the samples together."""
    y, sample = np.asarray(y, np.float64), np.asarray(sample, np.float64)
    share: Floats = (sample <= y[..., None]).mean(axis=-1)
    return share


def quantile(p: ArrayLike, sample: ArrayLike) -> Floats:
    """Return the quantiles at levels p in (0, 1), shape (..., levels).

    At rank (k + 1) p, so that the next exchangeable value is below with chance p (type 6 of Hyndman
    and Fan, The American Statistician 1996); beyond the extremes, the extremes.
    """
    sample = np.asarray(sample, np.float64)
    count = sample.shape[-1]
    rank = np.clip((count + 1) * np.asarray(p, np.float64), 1, count) - 1
    low = np.minimum(rank.astype(np.int64), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    found: Floats = sample[..., low] + (rank - low) * (sample[..., high] - sample[..., low])
    return found


def crps(y: ArrayLike, sample: ArrayLike) -> Floats:
    """Return the CRPS, E|X − y| − ½ E|X − X'| over the sample, of the shape of y and samples.

    ½ E|X − X'| = Σ_i (2i − k − 1) x_(i) / k² (Gneiting and Raftery, JASA 2007, eq. 21).
    """
    y, sample = np.asarray(y, np.float64), np.asarray(sample, np.float64)
    count = sample.shape[-1]
    weights = (2 * np.arange(1, count + 1) - count - 1) / count**2
    score: Floats = np.abs(sample - y[..., None]).mean(axis=-1) - sample @ weights
    return score


def mean(sample: ArrayLike) -> Floats:
    """Return the mean of each sample."""
    found: Floats = np.asarray(sample, np.float64).mean(axis=-1)
    return found


def variance(sample: ArrayLike) -> Floats:
    """Return the variance of each sample as a distribution: the mean square about the mean."""
    found: Floats = np.asarray(sample, np.float64).var(axis=-1)
    return found
