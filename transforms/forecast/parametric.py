"""Boosts the parameters of a family of distributions.

Each coordinate of a head has a boosting of its own; they take turns, each climbing the likelihood
along its natural gradient with the others as they are (`transforms.forecast.likelihood`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SourceError
from transforms.forecast.boosting import Learner, boost, raw_scores
from transforms.forecast.likelihood import HEADS, Coordinate, Head
from transforms.forecast.training import CrossFit, TrainingSet, some_rows

Floats = NDArray[np.float64]

_ROUNDS = 300
_STOPS = (25, 50, 100, 200, _ROUNDS)  # how far the boosting may go, chosen out of fold
_ROWS_TO_SHIFT = 10_000  # the few numbers that all rows share are fitted on so many, evenly spread
_PARAMETERS = {
    "num_leaves": 6,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    # Degrees of freedom carry a hundredth of a location's information per row, or less: a leaf must
    # hold some, not only rows.
    "min_sum_hessian_in_leaf": 1.0,
    "lambda_l2": 1.0,
}


@dataclass(frozen=True, slots=True)
class Parametric:
    """A fitted family whose parameters follow the features."""

    family: str  #: a name of `transforms.distributions.families`
    boosters: tuple[str, ...]  #: one of each coordinate
    start: tuple[float, ...]  #: what each coordinate's trees are added to
    centre: float
    unit: float
    levels: tuple[float, ...]
    limits: tuple[float, float]  #: the target's range, widened by itself on both sides

    @property
    def kind(self) -> str:
        """Return the family's name."""
        return self.family

    def parameters(self, X: Floats) -> dict[str, Floats]:
        """Return the parameters of each row's distribution by name, each of shape (n,)."""
        head = HEADS[self.family]
        raw = _raw(head, self.boosters, X, np.array(self.start))
        found = head.parameters(raw, self.centre, self.unit)
        return dict(zip(head.family.parameters, found, strict=True))

    def log_density(self, X: Floats, y: Floats) -> Floats:
        """Return the log density of each row's outcome, shape (n,)."""
        return HEADS[self.family].family.log_density(y, *self.parameters(X).values())

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        parameters = tuple(self.parameters(X).values())
        return quantiles_of(self.family, parameters, np.array(self.levels), self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the boosters as JSON values."""
        return {
            "family": self.family,
            "start": list(self.start),
            "centre": self.centre,
            "unit": self.unit,
            "levels": list(self.levels),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Parametric:
        """Return what `to_dict` wrote."""
        return cls(
            family=state["family"],
            boosters=boosters,
            start=tuple(state["start"]),
            centre=state["centre"],
            unit=state["unit"],
            levels=tuple(state["levels"]),
            limits=(state["limits"][0], state["limits"][1]),
        )


@dataclass(frozen=True, slots=True)
class FamilyFit:
    """Parameters of every row from models that did not see its fold, and how to fit on all rows."""

    parameters: tuple[Floats, ...]  #: of the family, each of shape (n,)
    limits: tuple[float, float]
    refit: Callable[[], Parametric]


def cross_fit_parametric(training: TrainingSet, family: str) -> CrossFit:
    """Fit a family on each fold's complement, and on all rows on demand.

    Raises
    ------
    SourceError
        When the target has values that the family cannot have (`Family.suits`).
    """
    fit = cross_fit_family(training, family)
    return CrossFit(
        quantiles=quantiles_of(family, fit.parameters, training.levels, fit.limits),
        refit=fit.refit,
    )


def cross_fit_family(training: TrainingSet, family: str) -> FamilyFit:
    """Fit on each fold's complement, and choose the number of rounds by the CRPS out of fold.

    A boosted scale is off for rows that it has not seen: too small after many rounds, too large
    after few. So every coordinate is shifted by one number for all rows, the maximum-likelihood
    estimate given the out-of-fold scores; that of a fold's rows comes from the other folds. (The
    models behind those scores had seen the fold, so its outcomes still touch its forecasts through
    these few numbers.)
    """
    head = HEADS[family]
    X, y, folds, weights = training.X, training.y, training.folds, training.weights
    if not head.family.suits(y):
        raise SourceError(
            f"the target does not suit the family {family!r}, which needs {_NEEDS[family]}; "
            "leave it out of `models`"
        )
    centre, unit = head.standard(y)
    numbers = np.unique(folds)
    raw = {stop: np.empty((len(head.coordinates), len(y))) for stop in _STOPS}
    for fold in numbers:
        test = folds == fold
        boosters, start = _grow(head, training.take(~test), centre, unit, _ROUNDS)
        for stop in _STOPS:
            raw[stop][:, test] = _raw(head, boosters, X[test], start, stop)

    scores, shifts = {}, {}
    for stop in _STOPS:
        shifts[stop] = _shift(head, y, raw[stop], weights, centre, unit)
        shifted = _bounded(head, raw[stop] + shifts[stop][:, None])
        losses = head.family.crps(y, *head.parameters(shifted, centre, unit))
        scores[stop] = float(np.average(losses, weights=weights))
    best = min(scores, key=scores.__getitem__)
    own = np.empty_like(raw[best])
    for fold in numbers:
        test = folds == fold
        others = None if weights is None else weights[~test]
        shift = _shift(head, y[~test], raw[best][:, ~test], others, centre, unit)
        own[:, test] = _bounded(head, raw[best][:, test] + shift[:, None])
    limits = (float(2 * y.min() - y.max()), float(2 * y.max() - y.min()))

    def refit() -> Parametric:
        boosters, start = _grow(head, training, centre, unit, best)
        return Parametric(
            family=family,
            boosters=boosters,
            start=tuple((start + shifts[best]).tolist()),
            centre=centre,
            unit=unit,
            levels=tuple(training.levels.tolist()),
            limits=limits,
        )

    return FamilyFit(head.parameters(own, centre, unit), limits, refit)


def quantiles_of(
    family: str, parameters: tuple[Floats, ...], levels: Floats, limits: tuple[float, float]
) -> Floats:
    """Return the quantiles of each row within limits, shape (n, levels)."""
    found = HEADS[family].family.quantile(levels, *(own[:, None] for own in parameters))
    # neighbouring levels may differ by rounding
    return np.maximum.accumulate(np.clip(found, *limits), axis=1)


_NEEDS = {
    "lognormal": "all values above 0",
    "gamma": "all values above 0",
    "zero_inflated_lognormal": "values of 0 and above 0, none below",
}


def _grow(
    head: Head, training: TrainingSet, centre: float, unit: float, rounds: int
) -> tuple[tuple[str, ...], Floats]:
    """Return a booster of each coordinate, and what its trees are added to, shape (d,)."""
    t = head.scaled(training.y, centre, unit)
    first = np.array([own.start or 0.0 for own in head.coordinates])
    raw = np.tile(first[:, None], len(t))
    free = np.array([own.start is None for own in head.coordinates])
    start = first + _shift(head, training.y, raw, training.weights, centre, unit, free)
    raw += (start - first)[:, None]

    def learner(place: int, own: Coordinate) -> Learner:
        def objective(scores: Floats) -> tuple[Floats, Floats]:
            raw[place] = np.clip(start[place] + scores, own.low, own.high)
            return own.derivative(t, *raw)

        return Learner(objective, own.due)

    boosters = boost(
        training.X,
        [learner(place, own) for place, own in enumerate(head.coordinates)],
        rounds=rounds,
        categories=training.categories,
        seed=training.seed,
        parameters=_PARAMETERS,
        weights=training.weights,
    )
    return boosters, start


def _raw(
    head: Head, boosters: tuple[str, ...], X: Floats, start: Floats, rounds: int = _ROUNDS
) -> Floats:
    """Raw scores of each row after so many rounds, shape (d, n)."""
    raw = np.empty((len(boosters), len(X)))
    for place, (own, text) in enumerate(zip(head.coordinates, boosters, strict=True)):
        trees = sum(own.due(step) for step in range(1, rounds + 1))
        raw[place] = start[place] + raw_scores(text, X, trees)
    return _bounded(head, raw)


def _bounded(head: Head, raw: Floats) -> Floats:
    low, high = np.array([(own.low, own.high) for own in head.coordinates]).T[:, :, None]
    return np.clip(raw, low, high)


def _shift(
    head: Head,
    y: Floats,
    raw: Floats,
    weights: Floats | None,
    centre: float,
    unit: float,
    free: NDArray[np.bool_] | None = None,
) -> Floats:
    """Maximum-likelihood shift of the free coordinates, the same for all rows, shape (d,)."""
    from scipy.optimize import minimize

    some = some_rows(len(y), _ROWS_TO_SHIFT, seed=0)
    y, raw = y[some], raw[:, some]
    own = np.full(len(y), 1 / len(y)) if weights is None else weights[some] / weights[some].sum()
    t = head.scaled(y, centre, unit)

    def loss(shift: Floats) -> tuple[float, Floats]:
        wanted = raw + shift[:, None]
        moved = _bounded(head, wanted)
        density = head.family.log_density(y, *head.parameters(moved, centre, unit))
        slopes = np.array([place.derivative(t, *moved)[0] for place in head.coordinates])
        slopes = (slopes * (moved == wanted)) @ own  # what is at its bound does not move
        return -float(own @ density), slopes if free is None else np.where(free, slopes, 0)

    found: Floats = minimize(loss, np.zeros(len(raw)), jac=True, method="L-BFGS-B").x
    return found
