"""Location, scale and skew of the target by boosting; residual quantiles on top.

A quantile of row x is m(x) + s(x) exp(±g(x)) u_p: the residual quantiles u_p are one set of numbers
for all rows, stretched on the right of the location and shrunk on its left where g > 0. This is
increasing in u, so levels cannot cross.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.boosting import Learner, boost, raw_scores
from transforms.forecast.empirical import mean_pinball, sample_quantiles
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]

_NU = 5.0  # tails of the working Student-t: heavy enough that outliers do not steer the location
_ROUNDS = 200
_STOPS = (25, 50, 100, _ROUNDS)  # how far the boosting may go, chosen out of fold
# The location needs most of the trees. The scale learns in every 4th round and the skew in every
# 8th, once the location stands: earlier they would take missing location for noise.
_SCALE_EVERY, _SKEW_EVERY, _SKEW_AFTER = 4, 8, 40
_SCALE_BOUNDS, _SKEW_BOUNDS = (-5.0, 4.0), (-1.0, 1.0)  # logs, of the target's own unit
_PARAMETERS = {"num_leaves": 16, "learning_rate": 0.1, "min_data_in_leaf": 20}


@dataclass(frozen=True, slots=True)
class LocationScale:
    """A fitted location-scale-skew forecaster."""

    kind: ClassVar[str] = "location_scale"
    boosters: tuple[str, ...]  #: location, log-scale and skew
    centre: float
    unit: float
    residuals: tuple[float, ...]  #: u_p at each level
    limits: tuple[float, float]  #: the target's range, widened by itself on both sides

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        found = _quantiles(_parameters(self.boosters, X), np.array(self.residuals))
        return np.clip(self.centre + self.unit * found, *self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the boosters as JSON values."""
        return {
            "centre": self.centre,
            "unit": self.unit,
            "residuals": list(self.residuals),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> LocationScale:
        """Return what `to_dict` wrote."""
        return cls(
            boosters=boosters,
            centre=state["centre"],
            unit=state["unit"],
            residuals=tuple(state["residuals"]),
            limits=(state["limits"][0], state["limits"][1]),
        )


def cross_fit_location_scale(training: TrainingSet, stops: Sequence[int] = _STOPS) -> CrossFit:
    """Fit on each fold's complement, and choose the number of rounds among `stops` out of fold.

    Residual quantiles come from out-of-fold residuals, which carry the model's own error and so
    do not under-cover as in-sample ones do (CRUDE, Zelikman et al., arXiv 2005.12496); those
    applied to a fold leave that fold out. (The models behind them had seen the fold, so its
    outcomes still touch its forecasts through these few pooled numbers; strict independence would
    take K(K − 1)/2 fits.)
    """
    X, y, folds, levels = training.X, training.y, training.folds, training.levels
    weights = training.weights
    centre, unit = _standard(y)
    scaled = replace(training, y=(y - centre) / unit)
    limits = (float(2 * y.min() - y.max()), float(2 * y.max() - y.min()))
    numbers = np.unique(folds)
    parameters = {stop: np.empty((len(y), 3)) for stop in stops}
    for fold in numbers:
        test = folds == fold
        boosters = _grow(scaled.take(~test), max(stops))
        for stop in stops:
            parameters[stop][test] = _parameters(boosters, X[test], stop)

    best_loss, best_stop = np.inf, max(stops)
    best: Floats = np.empty((len(y), len(levels)))
    for stop in stops:
        residuals = _residuals(parameters[stop], scaled.y)
        quantiles = np.empty((len(y), len(levels)))
        for fold in numbers:
            test = folds == fold
            own = None if weights is None else weights[~test]
            pooled = sample_quantiles(residuals[~test], levels, own)
            quantiles[test] = centre + unit * _quantiles(parameters[stop][test], pooled)
        quantiles = np.clip(quantiles, *limits)
        loss = mean_pinball(y, quantiles, levels, weights)
        if loss < best_loss:
            best_loss, best_stop, best = loss, stop, quantiles
    pooled = sample_quantiles(_residuals(parameters[best_stop], scaled.y), levels, weights)

    def refit() -> LocationScale:
        return LocationScale(
            boosters=_grow(scaled, best_stop),
            centre=centre,
            unit=unit,
            residuals=tuple(pooled.tolist()),
            limits=limits,
        )

    return CrossFit(quantiles=best, refit=refit)


def _scale_due(step: int) -> bool:
    return step % _SCALE_EVERY == 0


def _skew_due(step: int) -> bool:
    return step % _SKEW_EVERY == 0 and step > _SKEW_AFTER


def _grow(training: TrainingSet, rounds: int) -> tuple[str, ...]:
    """Boost the three parameters of a Student-t with two half-scales by Fisher scoring.

    With r = y − m, z = r/s and w = (ν + 1)/(ν + z²), the gradients of the negative log-likelihood
    are −w z/s for m and 1 − w z² for log s, with Fisher information (ν + 1)/((ν + 3) s²) and
    2ν/(ν + 3). The skew g has the likelihood of |r| given its side, scale s exp(±g): gradient
    ±(1 − w z²) at that scale. It leaves the location alone, which would
    otherwise drift to the mode. Each sees the others as they were before their latest tree.
    """
    scaled = training.y
    log_scale, precision = np.zeros(len(scaled)), np.ones(len(scaled))
    error = scaled
    information = np.full(len(scaled), 2 * _NU / (_NU + 3))

    def weighted(square: Floats) -> Floats:
        return (_NU + 1) * square / (_NU + square)

    def location(scores: Floats) -> tuple[Floats, Floats]:
        nonlocal error
        error = scaled - scores
        weight = (_NU + 1) / (_NU + error * error * precision)
        return -weight * error * precision, (_NU + 1) / (_NU + 3) * precision

    def scale(scores: Floats) -> tuple[Floats, Floats]:
        nonlocal log_scale, precision
        log_scale = np.clip(scores, *_SCALE_BOUNDS)
        precision = np.exp(-2 * log_scale)
        return 1 - weighted(error * error * precision), information

    def skew(scores: Floats) -> tuple[Floats, Floats]:
        side = np.where(error >= 0, 1.0, -1.0)
        own_scale = np.exp(-2 * (log_scale + side * np.clip(scores, *_SKEW_BOUNDS)))
        return side * (1 - weighted(error * error * own_scale)), information

    return boost(
        training.X,
        (Learner(location), Learner(scale, _scale_due), Learner(skew, _skew_due)),
        rounds=rounds,
        categories=training.categories,
        seed=training.seed,
        parameters=_PARAMETERS,
        weights=training.weights,
    )


def _parameters(boosters: tuple[str, ...], X: Floats, rounds: int = _ROUNDS) -> Floats:
    """Location, log-scale and skew of each row after so many rounds, shape (n, 3)."""
    steps = range(1, rounds + 1)
    trees = (rounds, sum(map(_scale_due, steps)), sum(map(_skew_due, steps)))
    raw = np.column_stack(
        [raw_scores(text, X, count) for text, count in zip(boosters, trees, strict=True)]
    )
    raw[:, 1] = np.clip(raw[:, 1], *_SCALE_BOUNDS)
    raw[:, 2] = np.clip(raw[:, 2], *_SKEW_BOUNDS)
    return raw


def _residuals(parameters: Floats, scaled: Floats) -> Floats:
    location, log_scale, skew = parameters.T
    error = scaled - location
    residuals: Floats = error * np.exp(-log_scale - np.sign(error) * skew)
    return residuals


def _quantiles(parameters: Floats, residuals: Floats) -> Floats:
    location, log_scale, skew = parameters.T[:, :, None]
    found: Floats = location + residuals * np.exp(log_scale + np.sign(residuals) * skew)
    return np.maximum.accumulate(found, axis=1)  # equal residuals may differ by rounding


def _standard(y: Floats) -> tuple[float, float]:
    """Median and a robust unit: the normal-consistent interquartile range, else the deviation."""
    low, centre, high = np.quantile(y, [0.25, 0.5, 0.75])
    unit = float(high - low) / 1.349
    return float(centre), unit if unit > 0 else float(y.std())
