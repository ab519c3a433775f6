"""Zero with chance 1 − `p`, else lognormal(`mu`, `sigma`): amounts that are often nothing.

The ZILN of Wang, Liu and Miao (arXiv 1912.07753), there the head of a network for the value of a
customer over time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from transforms.distributions import lognormal

Floats = NDArray[np.float64]


def log_density(y: ArrayLike, p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return log f(y): a density above 0, the log of the chance 1 − p at 0, −inf below."""
    y, p = np.asarray(y, np.float64), np.asarray(p, np.float64)
    with np.errstate(divide="ignore"):  # p may be 0 or 1: such outcomes then cannot be
        above = np.log(p) + lognormal.log_density(np.where(y > 0, y, 1), mu, sigma)
        zero = np.log1p(-p)
    return np.where(y > 0, above, np.where(y == 0, zero, np.where(np.isnan(y), np.nan, -np.inf)))


def cdf(y: ArrayLike, p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return P(Y <= y)."""
    p = np.asarray(p, np.float64)
    return np.where(np.asarray(y) < 0, 0, 1 - p + p * lognormal.cdf(y, mu, sigma))


def quantile(level: ArrayLike, p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the quantile at a level in (0, 1): 0 up to 1 − p."""
    level, p = np.asarray(level, np.float64), np.asarray(p, np.float64)
    above = level + p - 1  # of the chance that lies above zero, so much is below the quantile
    positive = above > 0
    inner = np.where(positive, above, 0.5) / np.where(positive, p, 1)
    return np.where(positive, lognormal.quantile(inner, mu, sigma), 0)


def crps(y: ArrayLike, p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the CRPS as E|Y − y| − ½ E|Y − Y'| (Gneiting and Raftery, JASA 2007, eq. 21).

    Of the positive part G, ½ E|G − G'| = E[G] (2Φ(σ/√2) − 1), half of Gini's mean difference, and
    E|G − y| is its CRPS and this.
    """
    y, p = np.asarray(y, np.float64), np.asarray(p, np.float64)
    centre = lognormal.mean(mu, sigma)
    half = centre * (2 * ndtr(np.asarray(sigma, np.float64) / np.sqrt(2)) - 1)
    away = p * (lognormal.crps(y, mu, sigma) + half) + (1 - p) * np.abs(y)
    score: Floats = away - p * p * half - p * (1 - p) * centre
    return score


def mean(p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the mean, p exp(μ + σ²/2)."""
    return np.asarray(p, np.float64) * lognormal.mean(mu, sigma)


def variance(p: ArrayLike, mu: ArrayLike, sigma: ArrayLike) -> Floats:
    """Return the variance, p exp(2μ + 2σ²) − mean²."""
    p, centre = np.asarray(p, np.float64), lognormal.mean(mu, sigma)
    found: Floats = p * lognormal.variance(mu, sigma) + p * (1 - p) * centre * centre
    return found
