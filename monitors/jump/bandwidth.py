"""How far from the cutoff units still tell of it: bandwidths by cross-validation and by plug-in."""

from __future__ import annotations

import math

import numpy as np

from monitors.encoder import FloatArray
from monitors.jump.local_polynomial import boundary_constants, epanechnikov, fit_side
from monitors.jump.memory import fit_memory, inflation
from monitors.jump.wasserstein import squared_distance

FOLDS = 5
CANDIDATES = 10
LEAST_UNITS = 8  # of a side within any bandwidth
_ROOT_TAU = math.sqrt(2.0 * math.pi)


def silverman(distance: FloatArray) -> float:
    """Return 0.9 min(σ, interquartile range / 1.34) n^(−1/5), for the density in the jump test."""
    lower, upper = np.quantile(distance, [0.25, 0.75])
    spread = min(float(distance.std(ddof=1)), float(upper - lower) / 1.34)
    return float(0.9 * spread * len(distance) ** -0.2)


def density_at(distance: FloatArray, width: float) -> float:
    """Return the Gaussian kernel density of the running variable at the cutoff."""
    return float(np.exp(-0.5 * (distance / width) ** 2).mean() / (width * _ROOT_TAU))


def cross_validated(
    distance: FloatArray, functions: FloatArray, levels: FloatArray, *, seed: int = 0
) -> float:
    """Return the bandwidth that best predicts units from those of their side beyond them.

    Each unit of four fifths of a side predicts those of the last fifth that are nearer to the
    cutoff, as the estimate at the cutoff is made from one side only (Imbens and Lemieux, Journal of
    Econometrics 2008, §5.1); the loss is the squared 2-Wasserstein distance.

    Parameters
    ----------
    distance : shape (n,), from the cutoff.
    functions : shape (n, q), quantile functions.
    levels : shape (q,)
    """
    least = least_bandwidth(distance)
    reach = min(float(np.abs(distance[distance < 0.0]).max()), float(distance.max()))
    candidates = np.geomspace(least, max(reach, least), CANDIDATES)
    fold = np.random.default_rng(seed).permutation(len(distance)) % FOLDS
    losses = np.zeros(CANDIDATES)
    for side in (distance < 0.0, distance >= 0.0):
        away, own, of = np.abs(distance[side]), functions[side], fold[side]
        near = away <= np.median(away)
        beyond = away[None, :] - away[near][:, None]  # (held out, used)
        usable = (beyond > 0.0) & (of[None, :] != of[near][:, None])
        for at, bandwidth in enumerate(candidates):
            predicted = _at_the_end(np.where(usable, beyond, np.inf), own, bandwidth)
            losses[at] += squared_distance(
                predicted - own[near], np.zeros(len(levels)), levels
            ).sum()
    return float(candidates[int(np.argmin(losses))])


def _at_the_end(beyond: FloatArray, functions: FloatArray, bandwidth: float) -> FloatArray:
    """Return the local-linear prediction at distance 0 of each row of distances beyond it."""
    u = beyond / bandwidth
    kernel = epanechnikov(u)
    u = np.where(np.isfinite(u), u, 0.0)
    zeroth, first, second = (np.sum(kernel * u**power, axis=1) for power in range(3))
    determinant = zeroth * second - first**2
    linear = determinant > 1e-6 * zeroth**2
    weights = kernel * np.where(linear[:, None], second[:, None] - u * first[:, None], 1.0)
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0)
    return shares @ functions


def least_bandwidth(distance: FloatArray, units: int = LEAST_UNITS) -> float:
    """Return the bandwidth that has so many units on either side."""
    sides = (np.sort(-distance[distance < 0.0]), np.sort(distance[distance >= 0.0]))
    return 1.0001 * max(float(side[min(units, len(side) - 1)]) for side in sides)


def mean_square_optimal(
    distance: FloatArray, outcomes: FloatArray, levels: FloatArray, *, serial: bool = False
) -> float:
    """Return the bandwidth of least integrated mean squared error of a local-linear jump.

    The plug-in rule of Van Dijcke (2025, R3D) after Imbens and Kalyanaraman (Review of Economic
    Studies 2012): with B and V the bias and variance constants of the jump, integrated over the
    levels, h = [V / (4 f B²)]^(1/5) n^(−1/5). Curvatures and variances are first those of global
    quadratics on each side, then of local ones. Used for a local quadratic, it undersmooths.

    Parameters
    ----------
    distance : shape (n,), from the cutoff; in periods and rising if `serial`.
    outcomes : shape (n, q), quantile functions.
    levels : shape (q,)
    serial : whether neighbouring units depend on each other: variances are then long-run ones.
    """
    bias_constant, variance_constant = boundary_constants(1)
    n = len(distance)
    width = 1.06 * float(distance.std(ddof=1)) * n**-0.2
    density = density_at(distance, width)
    alike = np.ones(outcomes.shape[1])
    if serial:
        alike = inflation(fit_memory(distance, outcomes, order=2).phi)
    sides = (distance < 0.0, distance >= 0.0)
    longest = float(np.abs(distance).max()) * 1.0001
    least = least_bandwidth(distance)
    bandwidth = math.inf
    for _ in range(2):
        bias, variance = np.zeros(outcomes.shape[1]), np.zeros(outcomes.shape[1])
        for sign, side in zip((-1.0, 1.0), sides, strict=True):
            fit = fit_side(distance[side], outcomes[side], bandwidth, 2)
            inside = np.abs(distance[side]) < bandwidth
            bias += sign * bias_constant * fit.curvature
            freedom = max(1, int(inside.sum()) - 3)
            variance += variance_constant * (fit.residuals[inside] ** 2).sum(axis=0) / freedom
        squared = float(np.trapezoid(bias**2, levels))
        noise = float(np.trapezoid(variance * alike, levels))
        if squared <= 0.0 or noise <= 0.0:
            return longest
        bandwidth = (noise / (4.0 * density * squared * n)) ** 0.2
        bandwidth = min(max(bandwidth, least), longest)
    return bandwidth
