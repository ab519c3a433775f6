"""The part of a forecaster that is additive, whose attribution to features is exact.

What people read of a forecaster is its median. No kind's median is a sum of trees and planes, but
most have one close to it, in the target's unit:

- location-scale and symmetric: the location. The median is the location plus the scale times the
  median residual, which is near zero since residuals are those of a fit of the location;
- direct: the mean of the forest. A leaf holds a distribution of the target, so a tree's forecast of
  the mean is its leaf's mean, and the forest's is the average;
- linear: the plane at the middle level;
- normal and student_t: the location, which is the median; skew_t: its location, which is near;
- aggregate: its members' parts by their weights.

Climatology has no features to attribute anything to, and the medians of the other families are no
sums in the target's unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.aggregate.model import Aggregate
from transforms.forecast.boosting import (
    NO_TREES,
    contributions,
    raw_scores,
    tree_structures,
    with_leaf_values,
)
from transforms.forecast.design import Design
from transforms.forecast.direct import Direct
from transforms.forecast.fitted import Fitted
from transforms.forecast.linear import Linear
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.oblivious.text import lightgbm_text
from transforms.forecast.parametric import Parametric
from transforms.forecast.symmetric import Symmetric
from transforms.forecast.training import QuantileModel
from transforms.forecast.tree_shapley import interventional_values

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plane:
    """The slopes of a linear forecaster's columns, in the unit of the target."""

    design: Design
    slopes: Floats  #: shape (columns,)

    def effects(self, X: Floats) -> Floats:
        """Return slope · column, summed over the columns of each feature, shape (n, features)."""
        design = self.design
        places = [*design.numbers, *design.gaps, *(position for position, _ in design.codes)]
        found: Floats = np.zeros((X.shape[1], len(X)))
        np.add.at(found, places, (design.matrix(X) * self.slopes).T)
        return np.asarray(found.T)


@dataclass(frozen=True, slots=True)
class AdditiveTrees:
    """offset + planes + scale · (sum of the trees), over boosters, in the unit of the target."""

    boosters: tuple[str, ...]  #: LightGBM's texts
    scales: tuple[float, ...]  #: of each booster
    offset: float
    planes: tuple[Plane, ...] = ()

    def predict(self, X: Floats) -> Floats:
        """Return the forecast of each row, shape (n,)."""
        found = np.full(len(X), self.offset)
        for scale, text in zip(self.scales, self.boosters, strict=True):
            found += scale * raw_scores(text, X)
        found += self._effects(X).sum(axis=1)
        return found

    def _effects(self, X: Floats) -> Floats:
        """Return what each feature adds by the planes, shape (n, features)."""
        found = np.zeros(X.shape)
        for plane in self.planes:
            found += plane.effects(X)
        return found

    def path_values(self, X: Floats) -> tuple[Floats, float]:
        """Attribute by the paths of the trees, as LightGBM's ``pred_contrib`` does.

        An absent feature sends a row down both sides of its splits, in the shares of the rows that
        the tree was grown on (Lundberg et al., 2018). That is neither law of the absent exactly:
        what stands above a split on the same path is taken as known, what does not is not. Of
        correlated features it gives the one that the trees happen to split on more; a feature that
        no tree splits on has 0, as under intervention. On a plane an absent feature is at its
        median.

        Returns
        -------
        values : float64 array, shape (n, features)
        base : float: the forecast with all features absent.
        """
        found = np.zeros((len(X), X.shape[1] + 1))
        for scale, text in zip(self.scales, self.boosters, strict=True):
            found += scale * contributions(text, X)
        base = float(found[0, -1]) if len(found) else 0.0
        return found[:, :-1] + self._effects(X), self.offset + base

    def interventional_values(self, X: Floats, background: Floats) -> tuple[Floats, float]:
        """Attribute with absent features drawn from the background's rows, whatever the others are.

        Exact: averaged over every row of the background; see `tree_shapley`.

        Returns
        -------
        values : float64 array, shape (n, features)
        base : float: the mean forecast of the background.
        """
        values = self._effects(X) - self._effects(background).mean(axis=0)
        for scale, text in zip(self.scales, self.boosters, strict=True):
            values += scale * interventional_values(tree_structures(text), X, background)
        return values, float(self.predict(background).mean())


def additive_part(forecaster: Fitted) -> AdditiveTrees | None:
    """Return the sum closest to a forecaster's median; None of kinds that have none."""
    return _additive(forecaster.model, len(forecaster.features.names))


def _additive(model: QuantileModel, features: int) -> AdditiveTrees | None:
    if isinstance(model, LocationScale | Parametric):
        return _location(model)
    if isinstance(model, Symmetric):
        locations = [(member.parts[0], member.ranks) for member in model.members]
        text, constant = lightgbm_text(locations, features)
        return AdditiveTrees((text,), (model.unit,), model.centre + model.unit * constant)
    if isinstance(model, Direct):
        return _forest_mean(model)
    if isinstance(model, Linear):
        middle = model.coefficients[:, model.coefficients.shape[1] // 2]
        return AdditiveTrees((), (), float(middle[0]), (Plane(model.design, middle[1:]),))
    if isinstance(model, Aggregate):
        return _mixture(model, features)
    return None


def _location(model: LocationScale | Parametric) -> AdditiveTrees | None:
    """Return the location; None of families that have none in the target's unit."""
    start = 0.0
    if isinstance(model, Parametric):
        if model.family not in {"normal", "student_t", "skew_t"}:
            return None
        start = model.start[0]
    offset = model.centre + model.unit * start
    return AdditiveTrees((model.boosters[0],), (model.unit,), offset)


def _mixture(model: Aggregate, features: int) -> AdditiveTrees:
    """Return the members' parts by their shares; one without, which adds no effect, is left out."""
    found = [
        (share, part)
        for share, member in zip(model.shares, model.members, strict=True)
        if (part := _additive(member, features)) is not None
    ]
    return AdditiveTrees(
        boosters=tuple(text for _, part in found for text in part.boosters),
        scales=tuple(share * scale for share, part in found for scale in part.scales),
        offset=float(sum(share * part.offset for share, part in found)),
        planes=tuple(
            Plane(plane.design, share * plane.slopes)
            for share, part in found
            for plane in part.planes
        ),
    )


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
    means = [count @ middle / np.maximum(count.sum(axis=1), 1) for count in model.counts]
    if model.boosters[0] == NO_TREES:
        return AdditiveTrees((), (), float(means[0][0]))
    text = with_leaf_values(model.boosters[0], means)
    return AdditiveTrees((text,), (1.0 / len(means),), 0.0)
