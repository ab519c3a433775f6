"""The paper's own methods, as tests of the features of two tables.

Each is a statistic of the rows that are the window's and those that are not; `resampling` gives it
its null, and `locate` names the features in turn, as for the `moments` method. Numbers are taken as
their normal scores, one column each; categories are indicators, which explain the numbers and are
tested by `fisher` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from monitors.encoder import FloatArray
from monitors.feature_shift import fisher, knn_ks, model_ks
from monitors.feature_shift.likelihood_ratio import RIDGE, without
from monitors.feature_shift.locate import Evidence, weigh
from monitors.feature_shift.resampling import Statistic, resample
from monitors.gram import moments

DRAWS = {"fisher": 499, "model-ks": 199, "knn-ks": 99}  #: by method, of the null
MOST_ROWS = 2000  # of a table that `knn-ks` compares: it puts all in order of distance
_CLOSEST = 0.999  # a distance of 1 would be an infinite shift


@dataclass(frozen=True)
class Blocks:
    """The rows of two tables, in blocks of one size."""

    grams: FloatArray  #: shape (R, p + 1, p + 1)
    in_window: NDArray[np.bool_]  #: shape (R,): whether a block is the window's
    groups: Sequence[NDArray[np.intp]]  #: basis columns of each feature
    numeric: Sequence[int]  #: the features that are numbers
    rows: Callable[[], FloatArray]  #: gives the basis columns of all rows, shape (n, p)
    block: NDArray[np.int64]  #: shape (n,): the block of each row


def untested(method: str, blocks: Blocks) -> list[int]:
    """Return the features with columns that a method has no test for."""
    if method == "fisher":
        return []
    return [j for j, group in enumerate(blocks.groups) if len(group) and j not in blocks.numeric]


def evidence(
    method: str,
    blocks: Blocks,
    removed: tuple[int, ...],
    level: float,
    *,
    rng: np.random.Generator,
    ignore_below: float,
) -> list[Evidence]:
    """Test every feature at a level, with some features set aside."""
    prepare = {"fisher": _fisher, "model-ks": _model_ks, "knn-ks": _knn_ks}[method]
    statistic = prepare(blocks, removed, rng)
    found = resample(statistic, blocks.in_window, rng, DRAWS[method])
    squared = np.asarray if method == "fisher" else _squared_shift
    effect = np.sqrt(np.maximum(squared(found.observed) - squared(found.mean), 0.0))
    return weigh(found.studentised, effect, found.null, level=level, ignore_below=ignore_below)


def _fisher(blocks: Blocks, removed: tuple[int, ...], _: np.random.Generator) -> Statistic:
    """γ_j in units of the pooled conditional variance, summed over a feature's columns."""
    grams, groups = without(blocks.grams, blocks.groups, removed)
    total = grams.sum(axis=0)
    covariance = moments(total)[2]
    precision = np.diagonal(np.linalg.inv(covariance + RIDGE * np.eye(len(covariance))))

    def statistic(in_window: NDArray[np.bool_]) -> FloatArray:
        window = np.tensordot(in_window.astype(np.float64), grams, axes=1)
        scores = fisher.statistic(total - window, window) / precision
        return np.stack([scores[:, group].sum(axis=1) for group in groups], axis=1)

    return statistic


def _model_ks(blocks: Blocks, removed: tuple[int, ...], rng: np.random.Generator) -> Statistic:
    grams, groups = without(blocks.grams, blocks.groups, removed)
    total = grams.sum(axis=0)
    normals = rng.standard_normal((2, model_ks.POINTS, len(total) - 1))
    tested = [j for j in blocks.numeric if j not in removed]

    def statistic(in_window: NDArray[np.bool_]) -> FloatArray:
        result = np.zeros((len(in_window), len(groups)))
        for row, window in zip(
            result, np.tensordot(in_window.astype(np.float64), grams, axes=1), strict=True
        ):
            distances = model_ks.statistic(total - window, window, normals)
            row[tested] = distances[[int(groups[j][0]) for j in tested]]
        return result

    return statistic


def _knn_ks(blocks: Blocks, removed: tuple[int, ...], rng: np.random.Generator) -> Statistic:
    rows = blocks.rows()
    gone = [column for j in removed for column in blocks.groups[j]]
    kept = np.setdiff1d(np.arange(rows.shape[1]), gone)
    tested = [j for j in blocks.numeric if j not in removed]
    size = int(np.bincount(blocks.block).min())
    inside = int(np.count_nonzero(blocks.in_window))
    fewer = min(inside, len(blocks.in_window) - inside)
    neighbours = knn_ks.find_neighbours(
        rows[:, kept],
        [int(np.searchsorted(kept, blocks.groups[j][0])) for j in tested],
        rng.choice(len(rows), knn_ks.POINTS, replace=False),
        min(knn_ks.NEIGHBOURS, max(size * fewer // 4, 1)),
    )

    def statistic(in_window: NDArray[np.bool_]) -> FloatArray:
        result = np.zeros((len(in_window), len(blocks.groups)))
        for row, inside in zip(result, in_window, strict=True):
            row[tested] = knn_ks.statistic(neighbours, inside[blocks.block])
        return result

    return statistic


def _squared_shift(distance: FloatArray) -> FloatArray:
    """Return the squared shift, in σ, that parts two normal laws by so much."""
    shift = 2.0 * ndtri(0.5 * (1.0 + np.minimum(distance, _CLOSEST)))
    squared: FloatArray = shift**2
    return squared
