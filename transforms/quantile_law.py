"""The law that forecast quantiles stand for: its CRPS, its log score, and any of its quantiles.

F is linear between the levels, with exponential tails: the law by which
`transforms.scores.pit_values` places outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.scores import aligned, tail_scale

Floats = NDArray[np.float64]

_NO_DENSITY = 1e300  # a log score that only a tail of no width gives


def crps(outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float] | Floats) -> Floats:
    """Continuous ranked probability score of each row, exact for the law of its quantiles.

    CRPS = ∫ (F(z) − 1{z ≥ y})² dz = 2 ∫ ψ_τ(y − F⁻¹(τ)) dτ (Gneiting and Raftery, JASA 2007,
    eq. 20; Laio and Tamea, HESS 2007), integrated segment by segment. Twice the mean pinball loss
    is that integral by a sum over the levels alone: it depends on how they are spaced, and leaves
    out the tails.

    Parameters
    ----------
    outcome : array, shape (n,)
    quantiles : array, shape (n, k), non-decreasing along k
    levels : sequence of k >= 2 increasing floats in (0, 1)

    Returns
    -------
    float64 array, shape (n,)
        In the unit of the outcome; NaN where the outcome or a quantile is NaN.
    """
    y, q, tau = aligned(outcome, quantiles, levels)
    gap, before, after = np.diff(q, axis=1), tau[:-1], tau[1:]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        part = np.clip((y[:, None] - q[:, :-1]) / gap, 0.0, 1.0)  # of each segment, below y
    part[gap == 0] = 0.0
    at = before + (after - before) * part
    below = part * (before**2 + before * at + at**2)
    above = (1 - part) * ((1 - at) ** 2 + (1 - at) * (1 - after) + (1 - after) ** 2)
    score: Floats = (gap * (below + above)).sum(axis=1) / 3
    for mass, scale, distance in _tails(y, q, tau):
        beyond = np.maximum(distance, 0.0)
        with np.errstate(over="ignore"):
            left = mass * np.exp(-beyond / scale)
        score += scale * mass**2 / 2 + beyond - 2 * scale * (mass - left)
    score[score < np.finfo(np.float64).tiny] = 0.0  # what a tail of no width leaves
    score[np.isnan(y)] = np.nan
    return score


def log_score(outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float] | Floats) -> Floats:
    """Logarithmic score of each row, −log f(y): the density's, so it depends on the unit.

    Parameters
    ----------
    outcome : array, shape (n,)
    quantiles : array, shape (n, k), non-decreasing along k
    levels : sequence of k >= 2 increasing floats in (0, 1)

    Returns
    -------
    float64 array, shape (n,)
        In nats, lower is better. Infinite where the law leaves the outcome no density; NaN where
        the outcome is on a point mass (quantiles that tie), which has no density to compare, and
        where the outcome or a quantile is NaN.
    """
    y, q, tau = aligned(outcome, quantiles, levels)
    rows, last = np.arange(len(y)), len(tau) - 1
    under = (q < y[:, None]).sum(axis=1)
    upto = (q <= y[:, None]).sum(axis=1)
    left = np.clip(upto - 1, 0, last - 1)
    (low_mass, low_scale, low), (high_mass, high_scale, high) = _tails(y, q, tau)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        score: Floats = np.log(q[rows, left + 1] - q[rows, left]) - np.log(np.diff(tau))[left]
        score = np.where(upto == 0, np.log(low_scale / low_mass) + low / low_scale, score)
        score = np.where(upto > last, np.log(high_scale / high_mass) + high / high_scale, score)
    score[score > _NO_DENSITY] = np.inf
    score[(upto - under > 1) | np.isnan(y) | np.isnan(q).any(axis=1)] = np.nan
    return score


def quantile_at(quantiles: ArrayLike, levels: Sequence[float] | Floats, level: float) -> Floats:
    """Return the quantile at another level.

    Parameters
    ----------
    quantiles : array, shape (n, k), non-decreasing along k
    levels : sequence of k >= 2 increasing floats in (0, 1)
    level : float in (0, 1)

    Returns
    -------
    float64 array, shape (n,)
        Beyond the outermost levels it leans on the shape of the tail, which no data may support.
    """
    q, tau = np.asarray(quantiles, np.float64), np.asarray(levels, np.float64)
    (low_mass, low_scale, _), (high_mass, high_scale, _) = _tails(np.zeros(len(q)), q, tau)
    if level < tau[0]:
        found: Floats = q[:, 0] - low_scale * np.log(low_mass / level)
    elif level > tau[-1]:
        found = q[:, -1] + high_scale * np.log(high_mass / (1 - level))
    else:
        left = min(int(np.searchsorted(tau, level, side="right")) - 1, len(tau) - 2)
        share = (level - tau[left]) / (tau[left + 1] - tau[left])
        found = q[:, left] + share * (q[:, left + 1] - q[:, left])
    return found


def _tails(y: Floats, q: Floats, tau: Floats) -> tuple[tuple[float, Floats, Floats], ...]:
    """Mass, scale, and how far the outcome is beyond its outermost quantile, below and above."""
    low, high = float(tau[0]), float(1 - tau[-1])
    return (
        (low, tail_scale(q[:, 1] - q[:, 0], low, tau[1] - tau[0]), q[:, 0] - y),
        (high, tail_scale(q[:, -1] - q[:, -2], high, tau[-1] - tau[-2]), y - q[:, -1]),
    )
