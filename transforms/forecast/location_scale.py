"""Location, scale and skew of the target from one boosting; residual quantiles on top.

A quantile of row x is m(x) + s(x) exp(±g(x)) u_p: the residual quantiles u_p are one set of numbers
for all rows, stretched on the right of the location and shrunk on its left where g > 0. This is
increasing in u, so levels cannot cross.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.boosting import boost, raw_scores, shorten
from transforms.forecast.empirical import CrossFit, sample_quantiles
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]

_NU = 5.0  # tails of the working Student-t: heavy enough that outliers do not steer the location
_ROUNDS = 200
_STOPS = (25, 50, 100, _ROUNDS)  # how far the boosting may go, chosen out of fold
# The location needs most of the trees. The scale learns in every 4th round and the skew in every
# 8th, once the location stands: earlier they would take missing location for noise.
_SCALE_EVERY, _SKEW_EVERY, _SKEW_FROM = 4, 8, 40
_SCALE_BOUNDS, _SKEW_BOUNDS = (-5.0, 4.0), (-1.0, 1.0)  # logs; 200 rounds of boosting may run away
_PARAMETERS = {"num_class": 3, "num_leaves": 16, "learning_rate": 0.1, "min_data_in_leaf": 20}


@dataclass(frozen=True, slots=True)
class LocationScale:
    """A fitted location-scale-skew forecaster."""

    kind: ClassVar[str] = "location_scale"
    booster: str
    centre: float
    unit: float
    residuals: tuple[float, ...]  #: u_p at each level
    limits: tuple[float, float]  #: quantiles are kept within the target's range, widened by itself

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        found = _quantiles(raw_scores(self.booster, X), np.array(self.residuals))
        return np.clip(self.centre + self.unit * found, *self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the booster as JSON values."""
        return {
            "centre": self.centre,
            "unit": self.unit,
            "residuals": list(self.residuals),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], booster: str | None) -> LocationScale:
        """Return what `to_dict` wrote."""
        return cls(
            booster=booster or "",
            centre=state["centre"],
            unit=state["unit"],
            residuals=tuple(state["residuals"]),
            limits=(state["limits"][0], state["limits"][1]),
        )


def cross_fit_location_scale(
    X: Floats,
    y: Floats,
    folds: NDArray[np.int64],
    levels: Floats,
    *,
    categories: Sequence[int],
    seed: int,
) -> CrossFit:
    """Fit on each fold's complement, and choose the number of rounds out of fold.

    Residual quantiles come from out-of-fold residuals, which carry the model's own error and so
    do not under-cover as in-sample ones do (CRUDE, Zelikman et al., arXiv 2005.12496); those
    applied to a fold leave that fold out.
    """
    centre, unit = _standard(y)
    scaled = (y - centre) / unit
    limits = (float(2 * y.min() - y.max()), float(2 * y.max() - y.min()))
    numbers = np.unique(folds)
    scores = {stop: np.empty((len(y), 3)) for stop in _STOPS}
    for fold in numbers:
        test = folds == fold
        model = _grow(X[~test], scaled[~test], categories, seed, _ROUNDS)
        for stop in _STOPS:
            scores[stop][test] = raw_scores(model, X[test], stop)

    best_loss, best_stop, best = np.inf, _ROUNDS, np.empty(0)
    for stop in _STOPS:
        residuals = _residuals(scores[stop], scaled)
        quantiles = np.empty((len(y), len(levels)))
        for fold in numbers:
            test = folds == fold
            pooled = sample_quantiles(residuals[~test], levels)
            quantiles[test] = centre + unit * _quantiles(scores[stop][test], pooled)
        quantiles = np.clip(quantiles, *limits)
        loss = float(pinball_loss(y, quantiles, levels).mean())
        if loss < best_loss:
            best_loss, best_stop, best = loss, stop, quantiles

    def refit() -> LocationScale:
        pooled = sample_quantiles(_residuals(scores[best_stop], scaled), levels)
        return LocationScale(
            booster=_grow(X, scaled, categories, seed, best_stop),
            centre=centre,
            unit=unit,
            residuals=tuple(pooled.tolist()),
            limits=limits,
        )

    return CrossFit(quantiles=best, refit=refit)


def _grow(X: Floats, scaled: Floats, categories: Sequence[int], seed: int, rounds: int) -> str:
    """Boost the three parameters of a Student-t with two half-scales by Fisher scoring.

    With r = y − m, z = r/s and w = (ν + 1)/(ν + z²), the gradients of the negative log-likelihood
    are −w z/s for m and 1 − w z² for log s, with Fisher information (ν + 1)/((ν + 3) s²) and
    2ν/(ν + 3). The skew g has the likelihood of |r| given its side, scale s exp(±g): gradient
    ±(1 − w z²) at that scale. It leaves the location alone, which would otherwise drift to the mode.
    """
    step = 0
    info = 2 * _NU / (_NU + 3)

    def objective(raw: Floats) -> tuple[Floats, Floats]:
        nonlocal step
        step += 1
        location, log_scale, skew = _parameters(raw)
        gradient = np.zeros_like(raw)
        hessian = np.full_like(raw, info)
        precision = np.exp(-2 * log_scale)
        error = scaled - location
        square = error * error * precision
        weight = (_NU + 1) / (_NU + square)
        gradient[:, 0] = -weight * error * precision
        hessian[:, 0] = (_NU + 1) / (_NU + 3) * precision
        if step % _SCALE_EVERY == 0:
            gradient[:, 1] = 1 - weight * square
        if step % _SKEW_EVERY == 0 and step >= _SKEW_FROM:
            side = np.where(error >= 0, 1.0, -1.0)
            square = square * np.exp(-2 * side * skew)
            gradient[:, 2] = side * (1 - (_NU + 1) * square / (_NU + square))
        return gradient, hessian

    model = boost(
        X,
        objective,
        rounds=rounds,
        categories=categories,
        seed=seed,
        parameters=_PARAMETERS,
    )
    return shorten(model, rounds)


def _parameters(raw: Floats) -> tuple[Floats, Floats, Floats]:
    return raw[:, 0], np.clip(raw[:, 1], *_SCALE_BOUNDS), np.clip(raw[:, 2], *_SKEW_BOUNDS)


def _residuals(raw: Floats, scaled: Floats) -> Floats:
    location, log_scale, skew = _parameters(raw)
    error = scaled - location
    residuals: Floats = error * np.exp(-log_scale - np.sign(error) * skew)
    return residuals


def _quantiles(raw: Floats, residuals: Floats) -> Floats:
    location, log_scale, skew = (part[:, None] for part in _parameters(raw))
    found: Floats = location + residuals * np.exp(log_scale + np.sign(residuals) * skew)
    return np.maximum.accumulate(found, axis=1)  # equal residuals may differ by rounding


def _standard(y: Floats) -> tuple[float, float]:
    """Median and a robust unit: the normal-consistent interquartile range, else the deviation."""
    low, centre, high = np.quantile(y, [0.25, 0.5, 0.75])
    unit = float(high - low) / 1.349
    return float(centre), unit if unit > 0 else float(y.std())
