"""Mergeable histograms of every feature, on bins that the reference fixes.

A number has `BINS` bins of equal probability in the reference, and one below and one above its
range. A category has a cell for each of its `VALUES` most frequent values, one for its other
values, and one for values the reference never had. Missing values are in no cell. Histograms of
different rows add.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from monitors.encoder import Coding, Encoder, FloatArray
from schemas.stream import Stream

BINS = 60  # ten deciles of six
VALUES = 20
CELLS = BINS + 2  #: numbers: below, the bins, above; categories: new, the values, the others, 0, …
WIDTH = CELLS + 2  #: then the distance by which values lie below and above the range, summed, in σ
_DECILES = (0, *range(1 + BINS // 10, BINS, BINS // 10))  # what lies outside is in the end ones
_FAR = 1e6  # σ: a value further outside the range counts as that far
_LOOKUPS = 4096
_CHUNK = 16_384  # rows at a time: they stay in the cache

NO_HISTOGRAMS: FloatArray = np.zeros((0, WIDTH))


@dataclass(frozen=True)
class _Table:
    """The bins of one number: a line of equal lookup cells, each with at most one edge."""

    low: float
    high: float
    edges: FloatArray  #: shape (BINS − 1,), not decreasing

    @cached_property
    def _lookup(self) -> tuple[float, FloatArray, NDArray[np.intp]] | None:
        """Return cells per unit, the edge in each cell, and the bins before and after it.

        Cell 0 lies below the first edge, the last above the last edge. None: a cell has two edges.
        """
        width = self.edges[-1] - self.edges[0]
        if not 0.0 < width < np.inf or not np.isfinite(rate := _LOOKUPS / width):
            return None
        cell = _cell(self.edges, self.edges[0], rate)
        before = np.searchsorted(cell, np.arange(_LOOKUPS + 2))
        edge = np.append(self.edges, np.inf)[before]
        after = np.searchsorted(cell, np.arange(_LOOKUPS + 2), side="right")
        bins = 1 + np.stack([before, after], axis=1).ravel()
        return (rate, edge, bins) if np.array_equal(edge[cell], self.edges) else None

    def __call__(self, values: FloatArray) -> NDArray[np.intp]:
        """Return the cell of each value, none of them NaN."""
        if self._lookup is None:
            found = np.searchsorted(self.edges, values, side="right") + 1
        else:
            rate, edge, bins = self._lookup
            cell = _cell(values, self.edges[0], rate)
            passed = values >= edge.take(cell)
            cell += cell
            cell += passed
            found = bins.take(cell)
        if len(values) and values.min() < self.low:
            found -= values < self.low
        if len(values) and values.max() > self.high:
            found += values > self.high
        return found


def _cell(values: FloatArray, origin: float, rate: float) -> NDArray[np.intp]:
    with np.errstate(over="ignore"):
        at = values - origin
        at *= rate
    at += 1.0
    np.clip(at, 0.0, _LOOKUPS + 1.0, out=at)
    return at.astype(np.intp)


@dataclass(frozen=True)
class Bins:
    """The cells of every feature."""

    features: tuple[Coding, ...]

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """The features that are numbers."""
        return np.array(
            [j for j, coding in enumerate(self.features) if coding.knots], dtype=np.intp
        )

    @cached_property
    def tables(self) -> dict[int, _Table]:
        """The bins of each number."""
        tables = {}
        for j in self.numbers:
            knots = self.features[j].knots
            scores = self.features[j].scores or (0.0,)
            inner = np.interp(ndtri(np.arange(1, BINS) / BINS), scores, knots)
            tables[int(j)] = _Table(knots[0], knots[-1], inner)
        return tables

    @cached_property
    def positions(self) -> FloatArray:
        """Where the cells of each number lie, shape (features, CELLS), in its unit.

        The mean of the reference's values in a bin; the ends of its range for what lies outside.
        """
        positions = np.zeros((len(self.features), CELLS))
        for j, table in self.tables.items():
            knots, mass = self._mass(j)
            cells = table(knots)
            own = np.bincount(cells, mass, CELLS)
            edges = np.array([table.low, table.low, *table.edges, table.high, table.high])
            middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
            sums = np.bincount(cells, mass * (knots - table.low), CELLS)
            means = table.low + sums / np.where(own > 0, own, 1.0)
            positions[j] = np.where(own > 0, means, middle)
        return positions

    @cached_property
    def scale(self) -> FloatArray:
        """Standard deviation of each number in the reference, shape (features,); else 1."""
        scale = np.ones(len(self.features))
        for j in self.tables:
            knots, mass = self._mass(j)
            mean = mass @ knots
            scale[j] = np.sqrt(mass @ (knots - mean) ** 2) or 1.0
        return scale

    @cached_property
    def coarse(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Coarse cells, for what needs no order: deciles of numbers, values of categories.

        The first cell of each, all features in a row, and how many each feature has.
        """
        each = [_DECILES if coding.knots else range(VALUES + 2) for coding in self.features]
        starts = [j * CELLS + at for j, own in enumerate(each) for at in own]
        return np.array(starts, dtype=np.intp), np.array([len(own) for own in each])

    def _mass(self, j: int) -> tuple[FloatArray, FloatArray]:
        """Return the knots of a number and the share of the reference that each stands for."""
        knots = np.array(self.features[j].knots)
        if len(knots) == 1:
            return knots, np.ones(1)
        ranks = ndtr(np.array(self.features[j].scores))  # mid-ranks
        between = (ranks[1:] + ranks[:-1]) / 2
        mass = np.diff(np.concatenate([[0.0], between, [1.0]]))
        return knots, mass


def bins_of(encoder: Encoder) -> Bins:
    """Return the bins that an encoder's quantile tables and categories fix."""
    return Bins(encoder.features)


def watched_bins(encoder: Encoder, stream: Stream) -> Bins | None:
    """Return the bins of a stream's histograms; None where no monitor reads them."""
    return bins_of(encoder) if stream.monitors.histograms else None


def histograms(bins: Bins, table: pa.Table, group: NDArray[np.int64], groups: int) -> FloatArray:
    """Count the cells of each group of rows.

    Parameters
    ----------
    table : typed rows, as `transforms.contract.check_rows` leaves them.
    group : int64 array, shape (rows,), from 0 to `groups` − 1.

    Returns
    -------
    FloatArray, shape (groups, features, WIDTH): whole numbers but for the last two columns.
    """
    found = np.zeros((groups, len(bins.features), WIDTH))
    for j, coding in enumerate(bins.features):
        for start in range(0, table.num_rows, _CHUNK):
            values = table[coding.name].slice(start, _CHUNK)
            own = group[start : start + _CHUNK]
            if coding.knots:
                _count_numbers(found[:, j], bins.tables[j], bins.scale[j], values, own)
            else:
                _count_values(found[:, j], coding, values, own)
    return found


def histogram(bins: Bins, table: pa.Table) -> FloatArray:
    """Count the cells of the rows of a table, shape (features, WIDTH)."""
    found: FloatArray = histograms(bins, table, np.zeros(table.num_rows, dtype=np.int64), 1)[0]
    return found


def _add(found: FloatArray, cell: NDArray[np.intp], own: NDArray[np.int64]) -> None:
    if not len(own):
        return
    first, last = int(own.min()), int(own.max()) + 1
    if last > first + 1:
        cell = cell + (own - first) * CELLS
    counts = np.bincount(cell, minlength=(last - first) * CELLS)
    found[first:last, :CELLS] += counts.reshape(last - first, CELLS)


def _count_numbers(
    found: FloatArray, table: _Table, scale: float, values: pa.ChunkedArray, own: NDArray[np.int64]
) -> None:
    numbers = values.to_numpy().astype(np.float64, copy=False)
    if values.null_count:
        present = ~np.isnan(numbers)
        numbers, own = numbers[present], own[present]
    _add(found, table(numbers), own)
    for column, end, sign in ((CELLS, table.low, -1.0), (CELLS + 1, table.high, 1.0)):
        rows = np.flatnonzero(numbers < end if sign < 0 else numbers > end)
        if len(rows):
            with np.errstate(over="ignore"):
                beyond = np.minimum(sign * (numbers[rows] - end) / scale, _FAR)
            np.add.at(found[:, column], own[rows], beyond)


def _count_values(
    found: FloatArray, coding: Coding, values: pa.ChunkedArray, own: NDArray[np.int64]
) -> None:
    codes = pc.index_in(values.cast(pa.string()), pa.array(coding.values, pa.string()))
    cell = np.minimum(codes.fill_null(-1).to_numpy(), VALUES) + 1
    if values.null_count:
        present = values.is_valid().to_numpy()
        cell, own = cell[present], own[present]
    _add(found, cell.astype(np.intp), own)
