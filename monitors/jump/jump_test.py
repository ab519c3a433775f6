"""Whether the mean distribution, or how much distributions vary about it, jumps at a cutoff.

The test of Van Dijcke, *A Test for Jumps in Metric-Space Conditional Means* (2025), for
distributions on the line. One-sided local-linear Fréchet regression gives on each side s of the
cutoff the mean distribution l_s and the Fréchet variance V_s, the mean squared 2-Wasserstein
distance from it; both sides together give V_p. A jump of the mean shows in F = V_p − (V₊ + V₋)/2, a
jump of the variance in V₊ − V₋. With n units, bandwidth h, density f of the running variable at the
cutoff, σ²_s the variance of the squared distances and S_K a constant of the kernel,

    T = n h { (V₊ − V₋)² / [S_K (σ₊² + σ₋²) / f] + F² / [λ (1 − λ) (σ₊² + σ₋²) S_K / f] }

is χ² with one degree of freedom when nothing jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, gammaincc

from monitors.encoder import FloatArray
from monitors.jump.bandwidth import (
    cross_validated,
    density_at,
    mean_square_optimal,
    silverman,
)
from monitors.jump.local_polynomial import boundary_constants, fit_side
from monitors.jump.memory import fit_memory, inflation
from monitors.jump.wasserstein import frechet_mean, squared_distance

_FLOOR = 1e-12  # of the variance of squared distances


@dataclass(frozen=True, slots=True)
class JumpTest:
    """The outcome of the test."""

    statistic: float  #: T
    p_value: float
    bandwidth: float  #: in units of the running variable
    units: tuple[int, int]  #: within the bandwidth, before and after the cutoff
    before: FloatArray  #: shape (q,): mean quantile function just before the cutoff
    after: FloatArray  #: and just after it
    variance_before: float  #: Fréchet variance, in squares of the outcome's unit
    variance_after: float


def jump_test(
    x: FloatArray,
    functions: FloatArray,
    cutoff: float,
    *,
    levels: FloatArray,
    bandwidth: float | None = None,
    serial: bool = False,
    seed: int = 0,
) -> JumpTest:
    """Test whether distributions jump at a cutoff.

    Parameters
    ----------
    x : shape (n,), the running variable, such as time.
    functions : shape (n, q), the quantile function of each unit's distribution.
    cutoff : units at it are after it.
    levels : shape (q,), of the quantile functions, rising.
    bandwidth : when left out, cross-validated and then made a tenth smaller; if `serial`, that of
        `mean_square_optimal`, as neighbours would predict each other's noise.
    serial : whether x counts periods and neighbouring units depend on each other. The squared gap
        of the variances and F are then divided by how many units say as much as one, and T is F
        with as many degrees of freedom as Welch's test of the variances has.
    seed : of the folds of the cross-validation.

    Raises
    ------
    ValueError
        When a side has fewer than three units within the bandwidth.
    """
    distance = x - cutoff
    if bandwidth is None and serial:
        bandwidth = mean_square_optimal(distance, functions, levels, serial=True)
    elif bandwidth is None:
        bandwidth = 0.9 * cross_validated(distance, functions, levels, seed=seed)
    near = np.abs(distance) < bandwidth
    sides = [near & (distance < 0.0), near & (distance >= 0.0)]
    counts = [int(side.sum()) for side in sides]
    if min(counts) < 3:
        message = f"bandwidth {bandwidth:g}: {counts[0]} and {counts[1]} units are too few"
        raise ValueError(message)
    means, variances, spreads, sizes, counted = [], [], [], [], []
    pooled = np.zeros(len(x))
    squares = np.zeros(len(x))
    for side in sides:
        weights = fit_side(distance[side], functions[side], bandwidth, 1).weights
        mean = frechet_mean(weights, functions[side])
        square = squared_distance(functions[side], mean, levels)
        variance = float(weights @ square)
        size = float(np.abs(weights).sum())
        means.append(mean)
        variances.append(variance)
        spreads.append(max(_FLOOR, float(np.abs(weights) @ (square - variance) ** 2) / size))
        sizes.append(size)
        counted.append(size**2 / float(weights @ weights))
        pooled[side] = weights / 2.0
        squares[side] = square
    common = frechet_mean(pooled, functions)
    pooled_variance = float(pooled @ squared_distance(functions, common, levels))
    gap = variances[1] - variances[0]
    fold = pooled_variance - (variances[0] + variances[1]) / 2.0
    share = sizes[1] / (sizes[0] + sizes[1])
    scale = (
        boundary_constants(1)[1]
        * (spreads[0] + spreads[1])
        / density_at(distance, silverman(distance))
    )
    of_means, of_variances, freedom = 1.0, 1.0, 1.0
    if serial:
        outcomes = np.column_stack([functions[near], squares[near]])
        alike = inflation(fit_memory(distance[near], outcomes, order=1).phi)
        of_means, of_variances = float(alike[:-1].max()), float(alike[-1])
        freedom = _welch(spreads, [units / of_variances for units in counted])
    moved = gap**2 / of_variances + (fold / of_means) ** 2 / (share * (1.0 - share))
    statistic = len(x) * bandwidth * moved / scale
    law = fdtrc(1.0, freedom, statistic) if serial else gammaincc(0.5, statistic / 2.0)
    return JumpTest(
        statistic=statistic,
        p_value=float(law),
        bandwidth=bandwidth,
        units=(counts[0], counts[1]),
        before=means[0],
        after=means[1],
        variance_before=max(0.0, variances[0]),
        variance_after=max(0.0, variances[1]),
    )


def _welch(spreads: Sequence[float], units: Sequence[float]) -> float:
    """Return the degrees of freedom of a difference of two means, at least 1 (Welch 1947)."""
    parts = [spread / max(count, 1.0) for spread, count in zip(spreads, units, strict=True)]
    below = [max(count - 1.0, 1.0) for count in units]
    return max(1.0, sum(parts) ** 2 / sum(p**2 / m for p, m in zip(parts, below, strict=True)))
