"""Skewed Student's t of Hansen: mean `loc`, standard deviation `scale`.

`eta` > 2 are the degrees of freedom, `lam` in (−1, 1) the skew (Hansen, International Economic
Review 1994, eq. 10). With loc 0 and scale 1 it is `arch.univariate.SkewStudent`. It is the
two-piece t of Fernández and Steel, moved and scaled: ξ² = (1 + λ)/(1 − λ) (`as_skew_t`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.distributions import skew_t
from transforms.distributions.student_t import mean_size

Floats = NDArray[np.float64]


def as_skew_t(
    loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return `loc`, `scale`, `nu` and `xi` of the same law in `skew_t`.

    Hansen's Z is (W − a)/b, where W is a t of unit variance, its right side stretched by 1 + λ and
    its left side by 1 − λ; a is its mean, 2λ E|W|, and b its deviation, b² = 1 + 3λ² − a².
    """
    loc, scale, eta, lam = (np.asarray(part, np.float64) for part in (loc, scale, eta, lam))
    unit = np.sqrt((eta - 2) / eta)  # of a t whose variance is 1
    a = 2 * lam * unit * mean_size(eta)
    b = np.sqrt(1 + 3 * lam * lam - a * a)
    return (
        loc - scale * a / b,
        scale * unit * np.sqrt(1 - lam * lam) / b,
        eta,
        np.sqrt((1 + lam) / (1 - lam)),
    )


def log_density(
    y: ArrayLike, loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike
) -> Floats:
    """Return log f(y)."""
    return skew_t.log_density(y, *as_skew_t(loc, scale, eta, lam))


def cdf(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike) -> Floats:
    """Return P(Y <= y)."""
    return skew_t.cdf(y, *as_skew_t(loc, scale, eta, lam))


def quantile(
    p: ArrayLike, loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike
) -> Floats:
    """Return the quantile at p in (0, 1)."""
    return skew_t.quantile(p, *as_skew_t(loc, scale, eta, lam))


def crps(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike) -> Floats:
    """Return the CRPS, in closed form."""
    return skew_t.crps(y, *as_skew_t(loc, scale, eta, lam))


def mean(loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike) -> Floats:
    """Return the mean, `loc`."""
    return np.broadcast_arrays(np.asarray(loc, np.float64), scale, eta, lam)[0]


def variance(loc: ArrayLike, scale: ArrayLike, eta: ArrayLike, lam: ArrayLike) -> Floats:
    """Return the variance, `scale`²."""
    return np.broadcast_arrays(np.asarray(scale, np.float64) ** 2, loc, eta, lam)[0]
