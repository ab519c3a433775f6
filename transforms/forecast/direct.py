"""Direct conditional quantiles from a forest: safe for ties, zeros and few rows.

Trees are grown independently on bagged rows, each to tell apart where the target lies against one
cut point (or its rank). Rows that share leaves with x are its sample: the mean over trees of the
leaves' distribution functions is the conditional distribution, whose quantiles cannot cross
(quantile regression forests, Meinshausen, JMLR 2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.boosting import Learner, boost, leaves
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]
Counts = NDArray[np.int64] | Floats

_TREES = 100
_GRID = 100  # points that the distribution functions are kept at
_ROWS_AT_ONCE = 4096  # bounds the memory of a prediction


@dataclass(frozen=True, slots=True)
class Direct:
    """A fitted forest: per tree and leaf, the distribution function of the target on a grid."""

    kind: ClassVar[str] = "direct"
    boosters: tuple[str, ...]  #: one
    levels: tuple[float, ...]
    grid: tuple[float, ...]
    #: per tree (leaves, grid): rows at or below, cumulated; floats where rows had weights
    counts: tuple[Counts, ...]

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        tables = [_distribution(count) for count in self.counts]
        grid, levels = np.array(self.grid), np.array(self.levels)
        quantiles = np.empty((len(X), len(levels)))
        for start in range(0, len(X), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            found = leaves(self.boosters[0], X[part])
            total = np.zeros((len(found), len(grid)))
            for tree, table in enumerate(tables):
                total += table[found[:, tree]]
            quantiles[part] = _invert(total / len(tables), grid, levels)
        return quantiles

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the booster as JSON values."""
        return {
            "levels": list(self.levels),
            "grid": list(self.grid),
            "counts": [count.tolist() for count in self.counts],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Direct:
        """Return what `to_dict` wrote."""
        return cls(
            boosters=boosters,
            levels=tuple(state["levels"]),
            grid=tuple(state["grid"]),
            counts=tuple(np.array(count) for count in state["counts"]),
        )


def fit_direct(training: TrainingSet) -> Direct:
    """Grow the forest and count the target in its leaves, rows by their weights (positive)."""
    X, y, weights = training.X, training.y, training.weights
    grid = _grid(y)
    boosters = boost(
        X,
        (_splitter(y),),
        rounds=_TREES,
        categories=training.categories,
        seed=training.seed,
        parameters={
            "num_leaves": int(np.clip(len(y) // 20, 4, 128)),
            "min_data_in_leaf": int(np.clip(len(y) // 50, 5, 20)),
            "bagging_fraction": 0.6,
            "bagging_freq": 1,
            "feature_fraction_bynode": 0.6,
            "learning_rate": 1.0,
        },
        weights=weights,
    )
    place = np.searchsorted(grid, y, side="left")  # of the first grid point at or above
    found = leaves(boosters[0], X)
    counts: list[Any] = []
    own: Counts = np.ones(len(y), np.int64) if weights is None else weights
    for tree in range(found.shape[1]):
        count = np.zeros((int(found[:, tree].max()) + 1, len(grid)), own.dtype)
        np.add.at(count, (found[:, tree], place), own)
        counts.append(np.cumsum(count, axis=1))
    return Direct(
        boosters=boosters,
        levels=tuple(training.levels.tolist()),
        grid=tuple(grid.tolist()),
        counts=tuple(counts),
    )


def cross_fit_direct(training: TrainingSet) -> CrossFit:
    """Fit on each fold's complement and forecast the fold."""
    quantiles = np.empty((len(training.y), len(training.levels)))
    for fold in np.unique(training.folds):
        test = training.folds == fold
        quantiles[test] = fit_direct(training.take(~test)).quantiles(training.X[test])
    return CrossFit(quantiles=quantiles, refit=lambda: fit_direct(training))


def _splitter(y: Floats) -> Learner:
    """Every second tree splits on the rank, the others on one cut point each, in turn.

    The gradient does not depend on the scores so far, so trees are independent, as in a forest;
    LightGBM's own forest mode takes no objective of ours.
    """
    order = np.sort(y)
    rank = (np.searchsorted(order, y, "left") + np.searchsorted(order, y, "right")) / (2 * len(y))
    cuts = np.quantile(y, [0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95], method="lower")
    targets = [(y <= cut).astype(np.float64) for cut in cuts]
    targets = [target / target.std() for target in targets if target.std() > 0]
    step = 0

    def objective(raw: Floats) -> tuple[Floats, Floats]:
        nonlocal step
        step += 1
        target = rank if step % 2 else targets[(step // 2) % len(targets)]
        return -(target - target.mean()), np.ones_like(raw)

    return Learner(objective)


def _grid(y: Floats) -> Floats:
    """Quantiles of the target; a value with a mass of its own also gets the float just below it.

    Linear interpolation of the distribution function between grid points is then a step at such
    values, and no forecast lies between two values of a target that is counted.
    """
    values, counts = np.unique(y, return_counts=True)
    if len(values) <= _GRID:
        atoms, points = values, values
    else:
        atoms = values[counts > len(y) / _GRID]
        points = np.quantile(y, np.linspace(0, 1, _GRID))
    return np.unique(np.concatenate([points, atoms, np.nextafter(atoms, -np.inf)]))


def _distribution(counts: Counts) -> Floats:
    """Turn cumulated counts of each leaf into a distribution function."""
    total = counts[:, -1:]
    return counts / np.where(total > 0, total, 1)


def _invert(distribution: Floats, grid: Floats, levels: Floats) -> Floats:
    """Return the quantiles of distribution functions, linear between grid points."""
    rows = np.arange(len(distribution))
    quantiles = np.empty((len(rows), len(levels)))
    for place, level in enumerate(levels):
        high = np.minimum((distribution < level).sum(axis=1), len(grid) - 1)
        low = np.maximum(high - 1, 0)
        rise = distribution[rows, high] - distribution[rows, low]
        share = (level - distribution[rows, low]) / np.where(rise > 0, rise, 1)
        share = np.where(rise > 0, np.clip(share, 0, 1), 1)
        quantiles[:, place] = grid[low] + share * (grid[high] - grid[low])
    return np.maximum.accumulate(quantiles, axis=1)
