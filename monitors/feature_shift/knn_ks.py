"""The Kolmogorov-Smirnov distance between the nearest neighbours' values of every feature.

Around each of some points, the values of x_j among the k rows of the reference nearest in x_−j are
compared with those of the k rows of the window nearest in x_−j, and the distances averaged
(Kulinski, Bagchi and Inouye, Feature Shift Detection, NeurIPS 2020, §3.1). Nothing is assumed of
the law of the rows.

Who is near does not depend on which table a row is from. So the neighbours are put in order once
for all rows, and a set of rows that is dealt anew costs a walk along them. With some tens of
features a search tree would visit nearly every row; the distances are computed outright, those in
x_−j as those in x less one column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift.rows import Dealing, Rows

NEIGHBOURS = 100
POINTS = 60  # the paper's 30 of each table
_REACH = 3  # times k neighbours are looked at first: most often k of them are of each table


@dataclass(frozen=True)
class Neighbours:
    """All rows in order of their distance from each point, one column left out at a time."""

    k: int  #: neighbours of each table that are compared
    nearest: NDArray[np.int32]  #: shape (columns, points, rows): row numbers, the nearest first
    rank: NDArray[np.int32]  #: shape (columns, rows): dense rank of a row's value of the column
    near: tuple[NDArray[np.intp], NDArray[np.bool_]]  #: `_by_value` of the first neighbours


def prepare(rows: Rows, rng: np.random.Generator) -> Dealing:
    """Return the statistic of every number, at points among all rows."""
    size = int(np.bincount(rows.block).min())
    inside = int(np.count_nonzero(rows.in_window))
    fewer = min(inside, len(rows.in_window) - inside)
    neighbours = find_neighbours(
        rows.phi,
        rows.tested,
        rng.choice(len(rows.phi), POINTS, replace=False),
        min(NEIGHBOURS, max(size * fewer // 4, 1)),
    )

    def distances(in_window: NDArray[np.bool_]) -> FloatArray:
        return np.stack([statistic(neighbours, own[rows.block]) for own in in_window])

    return Dealing(distances, rows.in_window)


def find_neighbours(
    rows: FloatArray, columns: Sequence[int], points: NDArray[np.intp], k: int = NEIGHBOURS
) -> Neighbours:
    """Put the rows of both tables in order of distance from each point.

    Parameters
    ----------
    rows : FloatArray, shape (n, p)
    columns : those to be compared; all others, and all but one of these, say who is near.
    points : row numbers.
    """
    chosen = rows[points]
    square = np.sum(rows**2, axis=1)
    whole = square[points, None] + square - 2.0 * chosen @ rows.T
    nearest = np.empty((len(columns), len(points), len(rows)), dtype=np.int32)
    rank = np.empty((len(columns), len(rows)), dtype=np.int32)
    for i, j in enumerate(columns):
        nearest[i] = np.argsort(whole - (chosen[:, j, None] - rows[:, j]) ** 2, axis=1)
        rank[i] = np.unique(rows[:, j], return_inverse=True)[1]
    return Neighbours(k, nearest, rank, _by_value(nearest[..., : _REACH * k], rank))


def statistic(neighbours: Neighbours, in_window: NDArray[np.bool_]) -> FloatArray:
    """Return the mean distance of each of the neighbours' columns.

    Parameters
    ----------
    in_window : bool array, shape (n,)
        Which rows are the window's; the others are the reference's. Each has at least k rows.

    Returns
    -------
    FloatArray, shape (columns,), from 0 to 1
    """
    k, nearest = neighbours.k, neighbours.nearest
    (order, last), reach = neighbours.near, neighbours.near[0].shape[-1]
    while True:
        window = in_window[nearest[..., :reach]]
        seen = np.cumsum(window, axis=-1, dtype=np.int32)
        others = np.arange(1, window.shape[-1] + 1, dtype=np.int32) - seen
        fewest = np.minimum(seen[..., -1], others[..., -1]).min(initial=k)
        if fewest >= k:
            break
        reach *= 2
        order, last = _by_value(nearest[..., :reach], neighbours.rank)
    steps = (window & (seen <= k)).astype(np.int32) - (~window & (others <= k))
    gaps = np.abs(np.cumsum(np.take_along_axis(steps, order, axis=-1), axis=-1))
    distance = np.max(gaps, axis=-1, initial=0, where=last) / k
    result: FloatArray = distance.mean(axis=1)
    return result


def _by_value(
    nearest: NDArray[np.int32], rank: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Order neighbours by their value; also say which of them is the last of equal values."""
    values = np.take_along_axis(rank[:, None, :], nearest, axis=-1)
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    return order, np.diff(ordered, axis=-1, append=ordered[..., -1:] + 1) > 0
