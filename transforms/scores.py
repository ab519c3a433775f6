"""Proper scores of quantile forecasts and intervals: pinball, WIS, Winkler, coverage, PIT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def pinball_loss(
    outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float] | Floats
) -> Floats:
    """Pinball (quantile) loss of each row at each level.

    ψ_τ(y − q) = max(τ (y − q), (τ − 1)(y − q)), the loss whose minimiser is the τ-quantile
    (Koenker and Bassett, Econometrica 1978).

    Parameters
    ----------
    outcome : array, shape (n,)
        Observed values; NaN where there is none.
    quantiles : array, shape (n, k)
        Forecast quantiles, same unit as the outcome.
    levels : sequence of k floats in (0, 1)

    Returns
    -------
    float64 array, shape (n, k)
        In the unit of the outcome; NaN where the outcome or the quantile is NaN.
    """
    y, q, tau = aligned(outcome, quantiles, levels)
    error = y[:, None] - q
    return np.maximum(tau * error, (tau - 1) * error)


def weighted_interval_score(
    outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float] | Floats
) -> Floats:
    """Weighted interval score of each row.

    WIS = 2/k Σ_τ ψ_τ(y − q_τ). For levels that pair up around the median this equals
    (½|y − m| + Σ_j (α_j/2) IS_{α_j}) / (J + ½) with k = 2J + 1 (Bracher, Ray, Gneiting and Reich,
    PLOS Computational Biology 2021): the median counts half, not as an interval of its own. With
    many evenly spaced levels it approaches the CRPS from above (1 % too high at .01, .02 … .99);
    `transforms.quantile_law.crps` has no such excess, and takes levels at any distance.

    Returns
    -------
    float64 array, shape (n,)
    """
    scores: Floats = 2 * pinball_loss(outcome, quantiles, levels).mean(axis=1)
    return scores


def interval_misses(
    outcome: ArrayLike, lower: ArrayLike, upper: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows whose outcome fell below, and above, the closed interval [lower, upper].

    Returns
    -------
    below, above : bool arrays, shape (n,)
        Both false where the outcome or the end is NaN: leave such rows out before counting.
    """
    y, lo, hi = (np.asarray(part, np.float64) for part in (outcome, lower, upper))
    return y < lo, y > hi


def interval_coverage(outcome: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Share of the rows with an outcome that fell inside [lower, upper]; NaN without such rows."""
    y, lo, hi = (np.asarray(part, np.float64) for part in (outcome, lower, upper))
    known = ~np.isnan(y)
    if not known.any():
        return float("nan")
    return float(np.mean((y >= lo)[known] & (y <= hi)[known]))


def winkler_score(
    outcome: ArrayLike, lower: ArrayLike, upper: ArrayLike, interval: float
) -> Floats:
    """Winkler's interval score of each row, for a central interval of coverage `interval`.

    IS_α = (u − l) + (2/α) (l − y)₊ + (2/α) (y − u)₊ with α = 1 − interval (Winkler, JASA 1972;
    Gneiting and Raftery, JASA 2007, eq. 43) = (2/α) (ψ_{α/2}(y − l) + ψ_{1−α/2}(y − u)).

    Returns
    -------
    float64 array, shape (n,)
        NaN where the outcome is NaN.
    """
    y, lo, hi = (np.asarray(part, np.float64) for part in (outcome, lower, upper))
    penalty = 2 / (1 - interval)
    scores: Floats = hi - lo + penalty * (np.maximum(lo - y, 0) + np.maximum(y - hi, 0))
    return scores


def pit_values(
    outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float] | Floats
) -> Floats:
    """Probability integral transform of each outcome under its forecast quantiles.

    F(y) is linear between the levels. Beyond the outermost level p at quantile q the tail is
    exponential, p exp(−|y − q| / b), where b makes the density continuous with that of the
    neighbouring segment; so values stay inside [0, 1] and do not pile up at the ends. Where
    quantiles tie, F jumps, and an outcome on the jump gets its middle (Dawid, JRSS-A 1984; the
    non-randomised form of Czado, Gneiting and Held, Biometrics 2009).

    Parameters
    ----------
    outcome : array, shape (n,)
    quantiles : array, shape (n, k), non-decreasing along k
    levels : sequence of k >= 2 increasing floats in (0, 1)

    Returns
    -------
    float64 array, shape (n,)
        NaN where the outcome or a quantile is NaN.
    """
    y, q, tau = aligned(outcome, quantiles, levels)
    rows = np.arange(len(y))
    last = len(tau) - 1
    # number of quantiles strictly below, and at or below, the outcome
    under = (q < y[:, None]).sum(axis=1)
    upto = (q <= y[:, None]).sum(axis=1)
    left = np.clip(under - 1, 0, last - 1)
    gap = q[rows, left + 1] - q[rows, left]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = tau[left] + (tau[left + 1] - tau[left]) * (y - q[rows, left]) / gap
        low = tau[0] * np.exp(
            -(q[:, 0] - y) / tail_scale(q[:, 1] - q[:, 0], tau[0], tau[1] - tau[0])
        )
        high = (1 - tau[-1]) * np.exp(
            -(y - q[:, -1]) / tail_scale(q[:, -1] - q[:, -2], 1 - tau[-1], tau[-1] - tau[-2])
        )
    value = np.where(upto == 0, low, value)
    value = np.where(under == last + 1, 1 - high, value)
    on_jump = upto > under
    middle = (tau[np.minimum(under, last)] + tau[np.maximum(upto - 1, 0)]) / 2
    value = np.where(on_jump, middle, value)
    value[np.isnan(y) | np.isnan(q).any(axis=1)] = np.nan
    bounded: Floats = np.clip(value, 0.0, 1.0)
    return bounded


def tail_scale(gap: Floats, mass: float, step: float) -> Floats:
    """Scale of an exponential tail of so much mass, whose density joins that of its neighbour.

    Parameters
    ----------
    gap : array, shape (n,)
        Between the two outermost quantiles on that side.
    mass, step
        Probability beyond the outermost level, and between it and its neighbour.

    Returns
    -------
    float64 array, shape (n,)
        The smallest float where the gap is empty.
    """
    scale: Floats = np.maximum(gap * (mass / step), np.finfo(np.float64).tiny)
    return scale


def aligned(
    outcome: ArrayLike, quantiles: ArrayLike, levels: Sequence[float] | Floats
) -> tuple[Floats, Floats, Floats]:
    """Return all three as float64 arrays, shapes (n,), (n, k) and (k,); refuse others."""
    y, q = np.asarray(outcome, np.float64), np.asarray(quantiles, np.float64)
    tau = np.asarray(levels, np.float64)
    if y.ndim != 1 or q.shape != (len(y), len(tau)):
        raise ValueError(
            f"outcome {y.shape}, quantiles {q.shape} and {len(tau)} levels do not fit: "
            "they must be (n,), (n, k) and k"
        )
    return y, q, tau
