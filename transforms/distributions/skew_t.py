"""Skewed Student's t of Fernández and Steel, location–scale.

Y = `loc` + `scale` Z, where Z is a t with `nu` degrees of freedom whose right side is stretched by
`xi` and whose left side by 1/ξ (Fernández and Steel, JASA 1998, eq. 1):

    f(z) = 2/(ξ + 1/ξ) · {t_ν(z/ξ) for z ≥ 0; t_ν(ξz) for z < 0}.

`loc` is the mode, not the mean; ξ > 1 leans to the right; ξ = 1 is `student_t`. `hansen` is the
same set of laws by mean and standard deviation: their parameters must not be mixed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from transforms.distributions.student_t import (
    log_density_standard,
    mean_size,
    standard_variance,
    two_piece_crps,
)

Floats = NDArray[np.float64]


def log_density(
    y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike
) -> Floats:
    """Return log f(y)."""
    z, nu, xi = _parts(y, loc, scale, nu, xi)
    own = log_density_standard(np.where(z >= 0, z / xi, z * xi), nu)
    found: Floats = own + np.log(2 / (xi + 1 / xi)) - np.log(scale)
    return found


def cdf(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike) -> Floats:
    """Return P(Y <= y); P(Y < loc) = 1/(1 + ξ²)."""
    z, nu, xi = _parts(y, loc, scale, nu, xi)
    left = 2 / (1 + xi * xi)
    below = z < 0
    tail = stdtr(nu, -np.abs(z) / np.where(below, 1 / xi, xi))
    chance: Floats = np.where(below, left * tail, 1 - (2 - left) * tail)
    return chance


def quantile(
    p: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike
) -> Floats:
    """Return the quantile at p in (0, 1)."""
    p, nu, xi = (np.asarray(part, np.float64) for part in (p, nu, xi))
    left = 2 / (1 + xi * xi)
    below = 2 * p < left
    # the chance beyond the quantile, of the whole t whose half lies on that side
    tail = stdtrit(nu, np.where(below, p / left, (1 - p) / (2 - left)))
    z = np.where(below, tail / xi, -tail * xi)
    found: Floats = np.asarray(loc, np.float64) + np.asarray(scale, np.float64) * z
    return found


def crps(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike) -> Floats:
    """Return the CRPS, in closed form (`student_t.two_piece_crps`); infinite for ν ≤ 1."""
    z, nu, xi = _parts(y, loc, scale, nu, xi)
    score: Floats = np.asarray(scale, np.float64) * two_piece_crps(z, nu, xi)
    return score


def mean(loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike) -> Floats:
    """Return the mean, loc + scale E|T| (ξ − 1/ξ); NaN for ν ≤ 1."""
    loc, scale = np.asarray(loc, np.float64), np.asarray(scale, np.float64)
    return loc + scale * standard_mean(nu, xi)


def variance(loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike) -> Floats:
    """Return the variance, scale² (ν/(ν − 2) (ξ³ + ξ⁻³)/(ξ + 1/ξ) − mean²); infinite for ν ≤ 2."""
    xi = np.asarray(xi, np.float64)
    second = standard_variance(nu) * (xi**3 + xi**-3) / (xi + 1 / xi)
    first = np.where(np.isfinite(second), standard_mean(nu, xi), 0)
    found = np.asarray(scale, np.float64) ** 2 * (second - first * first)
    return np.broadcast_arrays(found, loc)[0]


def standard_mean(nu: ArrayLike, xi: ArrayLike) -> Floats:
    """Return the mean of Z; NaN for ν ≤ 1."""
    xi = np.asarray(xi, np.float64)
    size = mean_size(nu)
    return np.where(np.isfinite(size), size, np.nan) * (xi - 1 / xi)


def _parts(
    y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike, xi: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    y, loc, scale = (np.asarray(part, np.float64) for part in (y, loc, scale))
    return (y - loc) / scale, np.asarray(nu, np.float64), np.asarray(xi, np.float64)
