"""Made-up distributions per unit or per period, as quantile functions."""

from __future__ import annotations

import numpy as np

from monitors.encoder import FloatArray


def published(
    rng: np.random.Generator, n: int, jump: float, levels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return units of N(0.8 (x − 0.5) + jump · 1{x ≥ 0.5}, 1), 100 draws of each; x ~ U(0, 1)."""
    x = rng.uniform(size=n)
    mean = 0.8 * (x - 0.5) + jump * (x >= 0.5)
    return x, np.quantile(rng.normal(mean, 1.0, size=(100, n)), levels, axis=0).T


def r3d(
    rng: np.random.Generator, n: int, jump: float, levels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return units of N(5 + 5 x + jump · 1{x ≥ 0}, |1 + x|), 50 draws of each; x ~ U(−1, 1)."""
    x = rng.uniform(-1.0, 1.0, size=n)
    mean = 5.0 + 5.0 * x + jump * (x >= 0.0)
    return x, np.quantile(rng.normal(mean, np.abs(1.0 + x), size=(50, n)), levels, axis=0).T


def around(side: int) -> FloatArray:
    """Return the middles of so many periods on either side of 0."""
    return np.arange(2 * side, dtype=np.float64) - side + 0.5


def autoregression(rng: np.random.Generator, n: int, phi: float) -> FloatArray:
    """Return n values of variance 1 that begin in their stationary law."""
    values = np.empty(n)
    values[0] = rng.normal()
    for at in range(1, n):
        values[at] = phi * values[at - 1] + np.sqrt(1.0 - phi**2) * rng.normal()
    return values


def dependent(
    rng: np.random.Generator, side: int, phi: float, levels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return periods on both sides of 0 whose level and log spread are autoregressive."""
    n = 2 * side
    level, spread = autoregression(rng, n, phi), np.exp(0.2 * autoregression(rng, n, phi))
    rows = level + spread * rng.normal(size=(30, n))
    return around(side), np.quantile(rows, levels, axis=0).T
