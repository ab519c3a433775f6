"""Direct conditional quantiles from a forest: safe for ties, zeros and few rows.

Trees are grown independently on bagged rows, each to tell apart where the target lies against one
cut point (or its rank). Rows that share leaves with x are its sample: the mean over trees of the
leaves' distribution functions is the conditional distribution, whose quantiles cannot cross
(quantile regression forests, Meinshausen, JMLR 2006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.boosting import Learner, boost, leaves
from transforms.forecast.packed import pack, unpack
from transforms.forecast.training import CrossFit, TrainingSet
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]
Counts = NDArray[np.int32] | Floats

_TREES = 50
# Most leaves, and fewest rows of each: coarse where rows tell little, fine where they tell much
# (repeated ones, counts); the better one out of fold is kept.
_SIZES = ((128, 20), (1024, 5))
_CLEARLY = 2.0  # standard errors behind on one fold: the others are not asked
_BINS, _CATEGORY_BINS = 63, 255  # of numbers: a forest of fine leaves costs leaves × bins
_GRID = 100  # points that the distribution functions are kept at
_ROWS_AT_ONCE = 1024  # their distribution functions stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Direct:
    """A fitted forest: per tree and leaf, the distribution function of the target on a grid."""

    kind: ClassVar[str] = "direct"
    boosters: tuple[str, ...]  #: one
    levels: tuple[float, ...]
    grid: tuple[float, ...]
    #: per tree (leaves, grid): rows above the point before, and not above this one; floats where
    #: rows had weights
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
            "counts": [pack(count) for count in self.counts],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Direct:
        """Return what `to_dict` wrote."""
        return cls(
            boosters=boosters,
            levels=tuple(state["levels"]),
            grid=tuple(state["grid"]),
            counts=tuple(unpack(count) for count in state["counts"]),
        )


def fit_direct(training: TrainingSet, size: tuple[int, int] = _SIZES[0]) -> Direct:
    """Grow the forest and count the target in its leaves, rows by their weights (positive).

    Parameters
    ----------
    size : most leaves of a tree, and fewest rows of a leaf; with few rows, fewer of both.
    """
    X, y = training.X, training.y
    most, fewest = size
    grid = _grid(y)
    boosters = boost(
        X,
        (_splitter(y),),
        rounds=_TREES,
        categories=training.categories,
        seed=training.seed,
        parameters={
            "num_leaves": int(np.clip(len(y) // min(2 * fewest, 20), 4, most)),
            "min_data_in_leaf": int(np.clip(len(y) // 50, 5, fewest)),
            "bagging_fraction": 0.6,
            "bagging_freq": 1,
            "feature_fraction_bynode": 0.6,
            "learning_rate": 1.0,
            "max_bin_by_feature": [
                _CATEGORY_BINS if feature in training.categories else _BINS
                for feature in range(X.shape[1])
            ],
        },
        weights=training.weights,
    )
    found = leaves(boosters[0], X)
    return Direct(
        boosters=boosters,
        levels=tuple(training.levels.tolist()),
        grid=tuple(grid.tolist()),
        counts=_count(found, grid, y, training.weights, (found.max(axis=0) + 1).tolist()),
    )


def add_rows(model: Direct, X: Floats, y: Floats) -> Direct:
    """Return the forest with more rows counted in its leaves; its grid widens to hold them.

    Between two points of the grid values are not told apart; beyond its ends they get points of
    their own quantiles, so that a target which left its old range is followed.
    """
    old = np.array(model.grid)
    beyond = y[(y < old[0]) | (y > old[-1])]
    grid = np.union1d(old, _grid(beyond)) if len(beyond) else old
    found = leaves(model.boosters[0], X)
    places = np.searchsorted(grid, old)
    counts: list[Any] = []
    new = _count(found, grid, y, None, [len(count) for count in model.counts])
    for count, more in zip(model.counts, new, strict=True):
        both: Any = more.astype(count.dtype)
        both[:, places] += count
        counts.append(both)
    return replace(model, grid=tuple(grid.tolist()), counts=tuple(counts))


def cross_fit_direct(training: TrainingSet) -> CrossFit:
    """Fit on each fold's complement and forecast the fold; the better size of trees is kept.

    A size that is clearly behind on the folds so far is left out of those that follow.
    """
    y, levels, weights = training.y, training.levels, training.weights
    found = {size: np.empty((len(y), len(levels))) for size in _SIZES}
    seen = np.zeros(len(y), bool)
    for fold in np.unique(training.folds):
        test = training.folds == fold
        others = training.take(~test)
        for size, quantiles in found.items():
            quantiles[test] = fit_direct(others, size).quantiles(training.X[test])
        seen |= test
        rows = np.ones(int(seen.sum())) if weights is None else weights[seen]
        losses = {
            size: pinball_loss(y[seen], quantiles[seen], levels).mean(axis=1)
            for size, quantiles in found.items()
        }
        best = min(losses, key=lambda size: float(rows @ losses[size]))
        found = {
            size: quantiles
            for size, quantiles in found.items()
            if not _clearly_above(losses[size] - losses[best], rows)
        }
    return CrossFit(quantiles=found[best], refit=lambda: fit_direct(training, best))


def _clearly_above(excess: Floats, rows: Floats) -> bool:
    """Whether a mean over rows, by their weights, is above 0 by more than chance."""
    share = rows / rows.sum()
    mean = float(share @ excess)
    return mean > _CLEARLY * float(np.sqrt(share**2 @ (excess - mean) ** 2))


def _count(
    found: NDArray[np.int32],
    grid: Floats,
    y: Floats,
    weights: Floats | None,
    sizes: Sequence[int],
) -> tuple[Counts, ...]:
    """Count the target's places on the grid in each leaf of each tree."""
    place = np.searchsorted(grid, y, side="left")  # of the first grid point at or above
    counts: list[Any] = []
    for own, size in zip(found.T, sizes, strict=True):
        shape = (size, len(grid))
        cells = np.bincount(own * len(grid) + place, weights, shape[0] * shape[1]).reshape(shape)
        counts.append(cells.astype(np.int32) if weights is None else cells)
    return tuple(counts)


def _splitter(y: Floats) -> Learner:
    """Every second tree splits on the rank, the others on one cut point each, in turn.

    The gradient does not depend on the scores so far, so trees are independent, as in a forest;
    LightGBM's own forest mode takes no objective of ours.
    """
    order = np.sort(y)
    rank = (np.searchsorted(order, y, "left") + np.searchsorted(order, y, "right")) / (2 * len(y))
    cuts = np.quantile(y, [0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95], method="lower")
    targets = [(y <= cut).astype(np.float64) for cut in cuts]
    targets = [target / target.std() for target in targets if target.std() > 0] or [rank]
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
    """Turn the counts of each leaf into a distribution function."""
    below = np.cumsum(counts, axis=1, dtype=np.float64)
    total = below[:, -1:]
    return below / np.where(total > 0, total, 1)


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
