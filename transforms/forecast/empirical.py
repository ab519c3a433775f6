"""Climatology: the quantiles of the target itself, whatever the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.training import CrossFit, TrainingSet
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Climatology:
    """The same quantiles for every row."""

    kind: ClassVar[str] = "climatology"
    values: tuple[float, ...]

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        return np.tile(np.array(self.values), (len(X), 1))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"values": list(self.values)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Climatology:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        return cls(values=tuple(state["values"]))


def sample_quantiles(values: Floats, levels: Floats, weights: Floats | None = None) -> Floats:
    """Quantiles at rank (n + 1) p, so that the next exchangeable value is below with chance p.

    Hyndman and Fan's type 6 (The American Statistician 1996); beyond the extremes, the extremes.
    With weights, all positive, a value's place is the weight below it and half its own, among all
    and one more row of mean weight; equal weights give the same quantiles as none.
    """
    if weights is None:
        found: Floats = np.quantile(values, levels, method="weibull")
    else:
        order, mean = np.argsort(values, kind="stable"), weights.mean()
        own = weights[order]
        place = (np.cumsum(own) - 0.5 * own + 0.5 * mean) / (own.sum() + mean)
        found = np.interp(levels, place, values[order])
    return np.maximum.accumulate(found)  # rounding of the interpolation must not cross levels


def mean_pinball(
    y: Floats, quantiles: Floats, levels: Floats, weights: Floats | None = None
) -> float:
    """Return the mean pinball loss over rows (by their weights) and levels."""
    loss = pinball_loss(y, quantiles, levels)
    if weights is None:
        return float(loss.mean())
    return float(np.average(loss.mean(axis=1), weights=weights))


def fit_climatology(y: Floats, levels: Floats, weights: Floats | None = None) -> Climatology:
    """Fit on all rows."""
    return Climatology(values=tuple(sample_quantiles(y, levels, weights).tolist()))


def cross_fit_climatology(training: TrainingSet) -> CrossFit:
    """Forecast each fold from the rows of the others (from its own, where there are no others)."""
    y, folds, levels, weights = training.y, training.folds, training.levels, training.weights
    quantiles = np.empty((len(y), len(levels)))
    for fold in np.unique(folds):
        others = folds != fold if (folds != fold).any() else folds == fold
        own = None if weights is None else weights[others]
        quantiles[folds == fold] = sample_quantiles(y[others], levels, own)
    return CrossFit(quantiles=quantiles, refit=lambda: fit_climatology(y, levels, weights))
