"""Lognormal distribution: log Y is normal with mean `mu` and standard deviation `sigma` > 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from transforms.distributions import normal

Floats = NDArray[np.float64]


def log_density(y: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return log f(y); −inf for y ≤ 0."""
    y = np.asarray(y, np.float64)
    outside = y <= 0
    logs = np.log(np.where(outside, 1, y))
    return np.where(outside, -np.inf, normal.log_density(logs, mu, sigma) - logs)


def cdf(y: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return P(Y <= y)."""
    return normal.cdf(_log(y), mu, sigma)


def quantile(p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the quantile at p in (0, 1)."""
    return np.exp(normal.quantile(p, mu, sigma))


def crps(y: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the CRPS, y (2Φ(z) − 1) − 2 E[Y] (Φ(z − σ) + Φ(σ/√2) − 1), z = (log y − μ)/σ.

    Baran and Lerch, Quarterly Journal of the Royal Meteorological Society 2015, eq. 5.
    """
    y, mu, sigma = (np.asarray(part, np.float64) for part in (y, mu, sigma))
    z = (_log(y) - mu) / sigma
    score: Floats = y * (2 * ndtr(z) - 1) - 2 * mean(mu, sigma) * (
        ndtr(z - sigma) + ndtr(sigma / np.sqrt(2)) - 1
    )
    return score


def mean(mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the mean, exp(μ + σ²/2)."""
    sigma = np.asarray(sigma, np.float64)
    found: Floats = np.exp(mu + 0.5 * sigma * sigma)
    return found


def variance(mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the variance, (exp(σ²) − 1) mean²."""
    found: Floats = np.expm1(np.asarray(sigma, np.float64) ** 2) * mean(mu, sigma) ** 2
    return found


def _log(y: ArrayLike) -> Floats:
    """Return log y; −inf for y ≤ 0."""
    y = np.asarray(y, np.float64)
    return np.where(y <= 0, -np.inf, np.log(np.where(y <= 0, 1, y)))
