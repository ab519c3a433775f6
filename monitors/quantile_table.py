"""Looks up the normal scores of numbers in a quantile table.

A binary search among a thousand knots mispredicts a branch at every other step. So the table is
redrawn once over equal cells, one line per cell, and the cell of a value is then arithmetic. The
cells are of x, or of log x where the mass of positive numbers asks for it; where neither resolves
the table, the search stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

WINSOR = 3.0  # |z| beyond it is one row in 370: more would let single rows rule a covariance
CELLS = 2048  # 32 KB of lines, which stay in the cache of one core
COARSE = 0.01  # σ of the scores: root mean square error beyond which cells do not resolve a table
_TINY = float(np.finfo(np.float64).tiny)
_MARGIN = 1e-6  # of a cell: the end knots lie inside the cells whatever the rounding

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cell i holds the x with i ≤ t < i + 1, t = (x − origin)·rate; its line is level + slope·t."""

    log: bool  #: for x read log x
    origin: float
    rate: float
    level: _Floats  #: shape (CELLS + 2,): the first lies below the knots, the last above them
    slope: _Floats

    def __call__(self, values: _Floats) -> _Floats:
        with np.errstate(invalid="ignore", over="ignore"):
            x = np.log(np.maximum(values, _TINY)) if self.log else values
            t = x - self.origin
            t *= self.rate
            np.clip(t, 0.0, CELLS + 1.0, out=t)
            cell = t.astype(np.intp)  # NaN has any, and comes out as NaN
        t *= self.slope.take(cell, mode="clip")
        t += self.level.take(cell, mode="clip")
        return t


class QuantileTable:
    """The piecewise linear score of a number; ±`WINSOR` outside the knots.

    Parameters
    ----------
    knots : FloatArray, shape (k,), k ≥ 2, increasing
    scores : FloatArray, shape (k,), not decreasing, within ±`WINSOR`
    """

    def __init__(self, knots: _Floats, scores: _Floats) -> None:
        self.knots, self.scores = knots, scores
        scales = (False, True) if knots[0] > 0 else (False,)
        drawn = (_draw(knots, scores, log=log) for log in scales)
        self.cells = next((cells for cells in drawn if _resolves(cells, knots, scores)), None)

    def __call__(self, values: _Floats) -> _Floats:
        """Return the scores of values, shape (n,); NaN of NaN."""
        if self.cells is not None:
            return self.cells(values)
        scores = np.interp(values, self.knots, self.scores, left=-WINSOR, right=WINSOR)
        return np.asarray(scores, dtype=np.float64)


def _resolves(cells: _Cells, knots: _Floats, scores: _Floats) -> bool:
    mass = np.gradient(ndtr(scores))
    return bool(np.average((cells(knots) - scores) ** 2, weights=mass) <= COARSE**2)


def _draw(knots: _Floats, scores: _Floats, *, log: bool) -> _Cells:
    """Cover the knots between the last score of −`WINSOR` and the first of `WINSOR` with cells."""
    x = np.log(knots) if log else knots
    first = max(int(np.searchsorted(scores, -WINSOR, side="right")) - 1, 0)
    last = min(int(np.searchsorted(scores, WINSOR)), len(knots) - 1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        width = (x[last] - x[first]) / (CELLS - 2 * _MARGIN)
        origin = x[first] - (1 + _MARGIN) * width
        edges = np.interp(origin + width * np.arange(1, CELLS + 2), x, scores)
        rate = 1.0 / width
    slope = np.diff(edges)
    level = edges[:-1] - slope * np.arange(1, CELLS + 1)
    return _Cells(
        log=log,
        origin=float(origin),
        rate=float(rate),
        level=np.concatenate([[-WINSOR], level, [WINSOR]]),
        slope=np.concatenate([[0.0], slope, [0.0]]),
    )
