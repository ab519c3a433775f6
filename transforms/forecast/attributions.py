"""The part of a forecaster that is a sum of trees, whose attribution to features is exact.

What people read of a forecaster is its median. Neither kind's median is a sum of trees, but both
have one close to it, in the target's unit:

- location-scale: the location. Its median is the location plus the scale times the median residual,
  which is near zero since residuals are those of a fit of the location;
- direct: the mean of the forest. A leaf holds a distribution of the target, so a tree's forecast of
  the mean is its leaf's mean, and the forest's is the average.

Climatology has no features to attribute anything to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.boosting import (
    NO_TREES,
    contributions,
    raw_scores,
    tree_structures,
    with_leaf_values,
)
from transforms.forecast.direct import Direct
from transforms.forecast.fitted import Fitted
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.tree_shapley import interventional_values

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AdditiveTrees:
    """offset + scale · (sum of the trees), in the unit of the target."""

    booster: str  #: LightGBM's text
    offset: float
    scale: float

    def predict(self, X: Floats) -> Floats:
        """Return the forecast of each row, shape (n,)."""
        return self.offset + self.scale * raw_scores(self.booster, X)

    def path_values(self, X: Floats) -> tuple[Floats, float]:
        """Attribute by the paths of the trees, as LightGBM's ``pred_contrib`` does.

        An absent feature sends a row down both sides of its splits, in the shares of the rows that
        the tree was grown on (Lundberg et al., 2018). That is neither law of the absent exactly:
        what stands above a split on the same path is taken as known, what does not is not. Of
        correlated features it gives the one that the trees happen to split on more; a feature that
        no tree splits on has 0, as under intervention.

        Returns
        -------
        values : float64 array, shape (n, features)
        base : float: the forecast with all features absent.
        """
        found = self.scale * contributions(self.booster, X)
        base = float(found[0, -1]) if len(found) else 0.0
        return found[:, :-1], self.offset + base

    def interventional_values(self, X: Floats, background: Floats) -> tuple[Floats, float]:
        """Attribute with absent features drawn from the background's rows, whatever the others are.

        Exact: averaged over every row of the background; see `tree_shapley`.

        Returns
        -------
        values : float64 array, shape (n, features)
        base : float: the mean forecast of the background.
        """
        trees = tree_structures(self.booster)
        values = self.scale * interventional_values(trees, X, background)
        return values, float(self.predict(background).mean())


def additive_part(forecaster: Fitted) -> AdditiveTrees | None:
    """Return the sum of trees closest to a forecaster's median; None of a climatology."""
    model = forecaster.model
    if isinstance(model, LocationScale):
        return AdditiveTrees(model.boosters[0], model.centre, model.unit)
    if isinstance(model, Direct):
        return _forest_mean(model)
    return None


def forecast_median(forecaster: Fitted, X: Floats) -> Floats:
    """Return the forecast at level ½, shape (n,): linear between levels, else at the nearest.

    Parameters
    ----------
    X : float64 array, shape (n, features), as `Fitted.features.matrix` makes it.
    """
    if not len(X):
        return np.empty(0)
    quantiles, levels = forecaster.model.quantiles(X), np.asarray(forecaster.levels)
    above = min(int(np.searchsorted(levels, 0.5)), len(levels) - 1)
    below = max(above - 1, 0)
    gap = levels[above] - levels[below]
    share = float(np.clip((0.5 - levels[below]) / gap, 0.0, 1.0)) if gap > 0 else 1.0
    found: Floats = (1.0 - share) * quantiles[:, below] + share * quantiles[:, above]
    return found


def _forest_mean(model: Direct) -> AdditiveTrees:
    """Return the forest's mean: rows between two points of the grid lie midway between them."""
    grid = np.array(model.grid)
    middle = np.concatenate([grid[:1], (grid[:-1] + grid[1:]) / 2])
    means = []
    for count in model.counts:
        mass = np.diff(count, axis=1, prepend=0)
        means.append(mass @ middle / np.maximum(count[:, -1], 1))
    if model.boosters[0] == NO_TREES:
        return AdditiveTrees(NO_TREES, float(means[0][0]), 1.0)
    return AdditiveTrees(with_leaf_values(model.boosters[0], means), 0.0, 1.0 / len(means))
