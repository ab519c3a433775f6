"""Densities of one quantity before and after, on a common grid.

Gaussian kernels, with the bandwidth 0.9 min(σ, IQR / 1.34) n^(−1/5) of Silverman (1986, Density
Estimation for Statistics and Data Analysis, eq. 3.31).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.encoder import FloatArray

POINTS = 129  # of the grid
LEAST_ROWS = 20
_MARGIN = 3.0  # bandwidths beyond the outer quantiles
_ENDS = (0.005, 0.995)  # quantiles that the grid reaches to: one wild value does not stretch it
_FINEST = 1.5  # steps of the grid: a narrower kernel would fall between its points


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """Two densities; all arrays of shape (points,)."""

    grid: FloatArray  #: in the unit of the quantity
    before: FloatArray  #: per unit
    after: FloatArray


def densities(before: FloatArray, after: FloatArray) -> Density | None:
    """Estimate the density of two samples.

    Parameters
    ----------
    before, after : FloatArray, shapes (n,) and (m,), without NaN.

    Returns
    -------
    both densities; None where one side has fewer than `LEAST_ROWS` values, or none varies.
    """
    if min(len(before), len(after)) < LEAST_ROWS:
        return None
    widths = [_bandwidth(values) for values in (before, after)]
    ends = np.stack([np.quantile(values, _ENDS) for values in (before, after)])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if not high > low:
        return None
    margin = _MARGIN * max(widths)
    grid = np.linspace(low - margin, high + margin, POINTS)
    finest = _FINEST * float(grid[1] - grid[0])
    found = [
        _density(values, max(width, finest), grid)
        for values, width in zip((before, after), widths, strict=True)
    ]
    return Density(grid, *found)


def _bandwidth(values: FloatArray) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    spread = float(values.std(ddof=1))
    robust = float(high - low) / 1.34
    scale = min(spread, robust) if robust > 0 else spread
    return 0.9 * scale / float(len(values) ** 0.2)


def _density(values: FloatArray, width: float, grid: FloatArray) -> FloatArray:
    """Return the mean of the kernels at the points of the grid."""
    z = (grid[:, None] - values) / width
    kernels: FloatArray = np.exp(-0.5 * z * z)
    return np.asarray(kernels.mean(axis=1) / (width * np.sqrt(2.0 * np.pi)))
