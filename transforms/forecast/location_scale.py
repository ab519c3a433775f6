"""Location, scale and skew of the target by LightGBM; residual quantiles on top.

The model is `student`'s. Trees that grow leaf by leaf suit targets with steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast import student
from transforms.forecast.boosting import Learner, boost, raw_scores
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]

_ROUNDS = 200
_STOPS = (25, 50, 100, _ROUNDS)  # how far the boosting may go, chosen out of fold
STOPS_TO_COMPARE = _STOPS[:-1]  # enough to tell kinds apart on few rows, in half the time
# The location needs most of the trees. The scale learns in every 4th round and the skew in every
# 8th, once the location stands: earlier they would take missing location for noise.
_SCALE_EVERY, _SKEW_EVERY, _SKEW_AFTER = 4, 8, 40
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

    def parameters(self, X: Floats) -> Floats:
        """Return location, log-scale and skew of each row, shape (n, 3), in units of `unit`."""
        return _parameters(self.boosters, X)

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        found = student.quantiles(self.parameters(X), np.array(self.residuals))
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
    """Fit on each fold's complement; `student.choose` says how many rounds are best."""
    centre, unit = student.standard(training.y)
    scaled = replace(training, y=(training.y - centre) / unit)
    parameters = np.empty((len(stops), len(training.y), 3))
    for fold in np.unique(training.folds):
        test = training.folds == fold
        boosters = _grow(scaled.take(~test), max(stops))
        for place, stop in enumerate(stops):
            parameters[place, test] = _parameters(boosters, training.X[test], stop)
    best, held_out, law = student.choose(parameters, scaled.y, training, centre, unit)

    def refit() -> LocationScale:
        boosters = _grow(scaled, stops[best])
        return LocationScale(boosters, centre, unit, law, student.limits(training.y))

    return CrossFit(quantiles=held_out, refit=refit)


def _scale_due(step: int) -> bool:
    return step % _SCALE_EVERY == 0


def _skew_due(step: int) -> bool:
    return step % _SKEW_EVERY == 0 and step > _SKEW_AFTER


def _grow(training: TrainingSet, rounds: int) -> tuple[str, ...]:
    """Boost the three parameters side by side, as `student.objectives` says."""
    location, scale, skew = student.objectives(training.y)
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
    return student.bounded(
        np.column_stack(
            [raw_scores(text, X, count) for text, count in zip(boosters, trees, strict=True)]
        )
    )
