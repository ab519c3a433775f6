"""Distances between the histograms of a reference and of a window, one column at a time.

Each function takes histograms, shape (..., features, WIDTH), and returns its values, shape (...,
features); those that need an order are of the features that are numbers only. Missing values do not
count. Where a side has no value at all, the result says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.marginals.histograms import CELLS, Bins

_SMOOTHING = 0.5  # rows added to every cell of PSI, which has no value where one is empty


def ks(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return the largest difference of the two distribution functions, at the bins' edges."""
    found: FloatArray = np.abs(_differences(bins, reference, window)).max(axis=-1)
    return found


def wasserstein(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return how far a value has to move on average, in the reference's standard deviations.

    Values within a bin are taken at the bin's mean; what lies outside the range, where it is.
    """
    inner = np.abs(_differences(bins, reference, window)) * _gaps(bins)
    found: FloatArray = inner.sum(axis=-1) + np.abs(_beyond(bins, reference, window)).sum(axis=-1)
    return found


def energy(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return the energy distance, √(2 ∫ (F − G)²), of values in the reference's σ.

    Values are taken as by `wasserstein`, but those outside the range all at their mean.
    """
    difference = _differences(bins, reference, window)
    inner = (difference**2 * _gaps(bins)).sum(axis=-1)
    outer = np.abs(difference[..., [0, -1]] * _beyond(bins, reference, window)).sum(axis=-1)
    found: FloatArray = np.sqrt(2.0 * (inner + outer))
    return found


def psi(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return the population stability index Σ (q − p) ln (q / p).

    Numbers in the reference's deciles, categories by value; half a row is added to every cell that
    either side has a value in.
    """
    p, q = _coarse(bins, reference), _coarse(bins, window)
    used = (p + q > 0).astype(np.float64)
    spread = _SMOOTHING * _per_feature(bins, used)
    p = (p + _SMOOTHING) / _per_cell(bins, _per_feature(bins, p) + spread)
    q = (q + _SMOOTHING) / _per_cell(bins, _per_feature(bins, q) + spread)
    return _per_feature(bins, used * (q - p) * np.log(q / p))


def jensen_shannon(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return the Jensen-Shannon distance, base 2: 0 of equals, 1 of what shares no cell."""
    p, q = _shares(bins, reference), _shares(bins, window)
    middle = (p + q) / 2
    found = _per_feature(bins, _relative(p, middle) + _relative(q, middle)) / 2
    return np.sqrt(np.maximum(found, 0.0))


def chi_square(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return Cohen's w: √(X² (n + m) / (n m)) of Pearson's X² of a table of n and of m rows."""
    p, q = _coarse(bins, reference), _coarse(bins, window)
    both = _per_cell(bins, np.maximum(_per_feature(bins, p + q), 1.0))
    pooled = np.where(p + q > 0, (p + q) / both, 1.0)
    difference = _shares(bins, reference) - _shares(bins, window)
    return np.sqrt(_per_feature(bins, difference**2 / pooled))


@dataclass(frozen=True, slots=True)
class Distance:
    """One statistic, and the power of it, times √rows, that is about Gamma under no change."""

    name: str  #: as people write it
    value: Callable[[Bins, FloatArray, FloatArray], FloatArray]
    power: float  #: found by simulation: its 1 in 10,000 point is then right within a factor of 2
    squared: bool = False  #: whether the value is of the order of 1 / rows, not of its root
    numbers_only: bool = False

    def features(self, bins: Bins) -> NDArray[np.intp]:
        """Return the features that it is of."""
        return bins.numbers if self.numbers_only else np.arange(len(bins.features))

    def scaled(self, bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
        """Return what the null is of: its law hardly depends on the number of rows."""
        own = self.features(bins)
        n, m = (_rows(side)[..., own] for side in (reference, window))
        rows = n * m / np.maximum(n + m, 1.0)
        root = rows if self.squared else np.sqrt(rows)
        return np.asarray((root * self.value(bins, reference, window)) ** self.power)


DISTANCES: Mapping[str, Distance] = MappingProxyType(
    {
        "ks": Distance("KS distance", ks, 1.0, numbers_only=True),
        "wasserstein": Distance("Wasserstein distance", wasserstein, 0.5, numbers_only=True),
        "jensen_shannon": Distance("Jensen-Shannon distance", jensen_shannon, 2.0),
        "psi": Distance("PSI", psi, 1.0, squared=True),
        "energy": Distance("energy distance", energy, 0.5, numbers_only=True),
        "chi_square": Distance("chi-square w", chi_square, 2.0),
    }
)


def _rows(histogram: FloatArray) -> FloatArray:
    rows: FloatArray = histogram[..., :CELLS].sum(axis=-1)
    return rows


def _differences(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return G − F of every number after each cell but the last."""
    sides = []
    for side in (reference, window):
        cells = side[..., bins.numbers, :CELLS]
        sides.append(cells / np.maximum(cells.sum(axis=-1, keepdims=True), 1.0))
    return np.cumsum(sides[1] - sides[0], axis=-1)[..., :-1]


def _gaps(bins: Bins) -> FloatArray:
    positions, scale = bins.positions[bins.numbers], bins.scale[bins.numbers, None]
    return np.asarray(np.diff(positions, axis=-1) / scale)


def _beyond(bins: Bins, reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return the difference of the mean distances outside the range, shape (..., numbers, 2)."""
    own = bins.numbers
    means = [
        side[..., own, CELLS:] / np.maximum(_rows(side)[..., own, None], 1.0)
        for side in (reference, window)
    ]
    return np.asarray(means[1] - means[0])


def _coarse(bins: Bins, histogram: FloatArray) -> FloatArray:
    """Return the rows of the coarse cells of all features in a row, shape (..., coarse cells)."""
    cells = histogram[..., :CELLS]
    flat = cells.reshape(*cells.shape[:-2], -1)
    found: FloatArray = np.add.reduceat(flat, bins.coarse[0], axis=-1)
    return found


def _per_feature(bins: Bins, coarse: FloatArray) -> FloatArray:
    sizes = bins.coarse[1]
    found: FloatArray = np.add.reduceat(coarse, np.cumsum(sizes) - sizes, axis=-1)
    return found


def _per_cell(bins: Bins, features: FloatArray) -> FloatArray:
    return np.repeat(features, bins.coarse[1], axis=-1)


def _shares(bins: Bins, histogram: FloatArray) -> FloatArray:
    coarse = _coarse(bins, histogram)
    return coarse / _per_cell(bins, np.maximum(_per_feature(bins, coarse), 1.0))


def _relative(p: FloatArray, q: FloatArray) -> FloatArray:
    """Return p log₂ (p / q), 0 where p is."""
    some = p > 0
    ratio = np.where(some, p, 1.0) / np.where(some, q, 1.0)
    return np.asarray(p * np.log2(ratio))
