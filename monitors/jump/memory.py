"""Serial dependence of neighbouring periods: what it takes from the evidence at a cutoff.

Each quantile of the periods' distributions is taken to be a smooth curve with a jump plus
first-order autoregressive noise, u_t = φ u_{t−1} + ε_t. The polynomials that are fitted to the few
periods near a cutoff follow the noise as well as the curve, so that their residuals look less
dependent than the noise is. φ is therefore the one whose noise would leave residuals of the
autocorrelation seen: with M the matrix that makes residuals of outcomes and Γ(φ) the noise's
correlations, E e eᵀ = σ² M Γ(φ) Mᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.jump.local_polynomial import powers

MOST = 0.98  # of φ: nearer to 1 a jump and a wandering level are the same
_FARTHEST = 2_000  # periods: from there on every φ^lag counts as nothing
_GRID = np.concatenate([np.arange(0.0, 0.9, 0.05), np.arange(0.9, MOST + 0.001, 0.02)])


@dataclass(frozen=True, slots=True)
class Memory:
    """Autoregressive noise of each quantile about polynomials on both sides of a cutoff."""

    phi: FloatArray  #: shape (q,), from 0 to `MOST`
    gaps: FloatArray  #: shape (n − 1,): periods from each unit to the next

    def whiten(self, series: FloatArray, at: int) -> FloatArray:
        """Return what is new in each row, given the row before, for the noise of quantile `at`.

        Parameters
        ----------
        series : shape (n, k)

        Returns
        -------
        FloatArray, shape (n, k): rows whose noise is independent, of the variance of the series'.
        """
        decay = self.phi[at] ** self.gaps[:, None]
        fresh = (series[1:] - decay * series[:-1]) / np.sqrt(1.0 - decay**2)
        return np.vstack([series[:1], fresh])


def fit_memory(distance: FloatArray, outcomes: FloatArray, order: int) -> Memory:
    """Fit the noise about a polynomial on each side of the cutoff.

    Parameters
    ----------
    distance : shape (n,), from the cutoff, in periods, rising.
    outcomes : shape (n, q)
    order : of the polynomials.
    """
    design = both_sides(distance, order)
    operator = np.asarray(np.linalg.pinv(design), dtype=np.float64)
    residuals = outcomes - design @ (operator @ outcomes)
    gaps = np.maximum(np.rint(np.diff(distance)), 1.0)
    pairs = gaps == 1.0
    expected = _left_autocorrelation(distance, pairs, design, operator)
    energy = np.maximum((residuals**2).sum(axis=0), np.finfo(float).tiny)
    seen = (residuals[1:] * residuals[:-1])[pairs].sum(axis=0) / energy
    phi = np.interp(seen, np.maximum.accumulate(expected), _GRID)
    return Memory(phi, gaps)


def inflation(phi: FloatArray) -> FloatArray:
    """Return how many dependent units say as much about a mean as one independent unit."""
    return (1.0 + phi) / (1.0 - phi)


def both_sides(distance: FloatArray, order: int) -> FloatArray:
    """Return the powers of the distance before and after the cutoff; shape (n, 2 order + 2)."""
    design = powers(distance / np.abs(distance).max(), order)
    after = (distance >= 0.0)[:, None]
    return np.hstack([np.where(after, 0.0, design), np.where(after, design, 0.0)])


def _left_autocorrelation(
    distance: FloatArray, pairs: NDArray[np.bool_], design: FloatArray, operator: FloatArray
) -> FloatArray:
    """Return, for each φ of the grid, the expected autocorrelation of the residuals.

    Parameters
    ----------
    distance : shape (n,), in periods.
    pairs : shape (n − 1,): whether the next unit is one period on.
    design : shape (n, k)
    operator : shape (k, n): from outcomes to coefficients.
    """
    lags = np.abs(np.rint(distance[:, None] - distance[None, :]))
    lags = np.minimum(lags, _FARTHEST).astype(np.intp)
    found = []
    for phi in _GRID:
        correlations = np.power(phi, np.arange(lags.max() + 1))[lags]  # 0⁰ is 1
        part = operator @ correlations
        inner = design @ (part @ operator.T)
        own = 1.0 + np.einsum("ij,ij->i", inner, design) - 2.0 * np.einsum("ij,ji->i", design, part)
        neighbours = (
            np.diagonal(correlations, -1)
            + np.einsum("ij,ij->i", inner[1:], design[:-1])
            - np.einsum("ij,ji->i", design[1:], part[:, :-1])
            - np.einsum("ij,ji->i", design[:-1], part[:, 1:])
        )
        found.append(neighbours[pairs].sum() / own.sum())
    return np.array(found)
