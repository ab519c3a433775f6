"""Student's t, location–scale: Y = `loc` + `scale` T with `nu` degrees of freedom.

`scale` is not the standard deviation, which is scale √(ν/(ν − 2)) for ν > 2. The mean, and with it
the CRPS, needs ν > 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, stdtr, stdtrit

Floats = NDArray[np.float64]


def log_density(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike) -> Floats:
    """Return log f(y)."""
    z = _standard(y, loc, scale)
    return log_density_standard(z, nu) - np.log(np.asarray(scale, np.float64))


def cdf(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike) -> Floats:
    """Return P(Y <= y)."""
    chance: Floats = stdtr(nu, _standard(y, loc, scale))
    return chance


def quantile(p: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike) -> Floats:
    """Return the quantile at p in (0, 1)."""
    found: Floats = np.asarray(loc, np.float64) + np.asarray(scale, np.float64) * stdtrit(nu, p)
    return found


def crps(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, nu: ArrayLike) -> Floats:
    """Return the CRPS, of `two_piece_crps` with equal sides; infinite for ν ≤ 1."""
    score: Floats = np.asarray(scale, np.float64) * two_piece_crps(_standard(y, loc, scale), nu, 1)
    return score


def mean(loc: ArrayLike, scale: ArrayLike, nu: ArrayLike) -> Floats:
    """Return the mean, `loc`; NaN for ν ≤ 1."""
    found = np.where(np.asarray(nu) > 1, np.asarray(loc, np.float64), np.nan)
    return np.broadcast_arrays(found, scale)[0]


def variance(loc: ArrayLike, scale: ArrayLike, nu: ArrayLike) -> Floats:
    """Return the variance, scale² ν/(ν − 2); infinite for ν ≤ 2."""
    found = np.asarray(scale, np.float64) ** 2 * standard_variance(nu)
    return np.broadcast_arrays(found, loc)[0]


def log_density_standard(z: ArrayLike, nu: ArrayLike) -> Floats:
    """Return the log density of T itself."""
    z, nu = np.asarray(z, np.float64), np.asarray(nu, np.float64)
    found: Floats = (
        -0.5 * np.log(nu) - betaln(0.5, 0.5 * nu) - 0.5 * (nu + 1) * np.log1p(z * z / nu)
    )
    return found


def standard_variance(nu: ArrayLike) -> Floats:
    """Return ν/(ν − 2), infinite for ν ≤ 2."""
    nu = np.asarray(nu, np.float64)
    return np.where(nu > 2, nu / np.where(nu > 2, nu - 2, 1), np.inf)


def mean_size(nu: ArrayLike) -> Floats:
    """Return E|T| = 2√ν / ((ν − 1) B(½, ν/2)); infinite for ν ≤ 1."""
    nu = np.asarray(nu, np.float64)
    found = 2 * np.sqrt(nu) / (np.where(nu > 1, nu - 1, 1) * np.exp(betaln(0.5, 0.5 * nu)))
    return np.where(nu > 1, found, np.inf)


def two_piece_crps(z: ArrayLike, nu: ArrayLike, xi: ArrayLike) -> Floats:
    """Return the CRPS of T with its right side stretched by ξ and its left side by 1/ξ.

    With masses a = 2/(1 + ξ²) and b = aξ², F(x) = a T_ν(ξx) below 0 and 1 − b T_ν(−x/ξ) above, so
    that ∫(F(x) − 1{x ≥ z})² dx (Gneiting and Raftery, JASA 2007, eq. 20) comes to

        |z| − 2 m k (M(0) − M(−|z|/k)) + (a²/ξ + b²ξ) A,

    m and k the mass and the stretch on the side of z. Integrated by parts,
    M(u) = ∫_{−∞}^u T_ν = u T_ν(u) + t_ν(u) (ν + u²)/(ν − 1) and
    A = ∫_{−∞}^0 T_ν² = √ν/(ν − 1) (1/B(½, ν/2) − B(½, ν − ½)/B(½, ν/2)²). With ξ = 1 it is the
    formula of Jordan, Krüger and Lerch (Journal of Statistical Software 2019, appendix A).
    """
    z, nu, xi = (np.asarray(part, np.float64) for part in (z, nu, xi))
    size, right = np.abs(z), z >= 0
    stretch = np.where(right, xi, 1 / xi)
    left_mass = 2 / (1 + xi * xi)
    mass = np.where(right, 2 - left_mass, left_mass)
    less = np.where(nu > 1, nu - 1, np.nan)
    beta = betaln(0.5, 0.5 * nu)

    u = -size / stretch
    at_zero = np.sqrt(nu) / less * np.exp(-beta)  # M(0)
    at_u = u * stdtr(nu, u) + np.exp(log_density_standard(u, nu)) * (nu + u * u) / less
    # above ½ (where ν > 1, always): the logarithm of B(½, ν − ½) is finite
    half = np.maximum(nu - 0.5, 0.5)
    square = at_zero - np.sqrt(nu) / less * np.exp(betaln(0.5, half) - 2 * beta)  # A
    spread = left_mass**2 / xi + (2 - left_mass) ** 2 * xi
    score = size - 2 * mass * stretch * (at_zero - at_u) + spread * square
    return np.where(nu <= 1, np.inf, score)


def _standard(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Floats:
    y, loc, scale = (np.asarray(part, np.float64) for part in (y, loc, scale))
    z: Floats = (y - loc) / scale
    return z
