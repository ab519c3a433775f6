"""Several families, and a gate that says in each row how much each of them counts.

Families whose parameters follow the features are fitted side by side; a boosting of softmax scores
on top weighs their densities row by row, by the likelihood of the mixture on out-of-fold rows. It
is the selection of OptDist (Weng et al., arXiv 2408.08585) with the mixture kept in place of its
arg-max: wherever two families serve alike, both together serve better than either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from transforms.distributions import mixture
from transforms.distributions.mixture import Component
from transforms.forecast.boosting import NO_TREES, Learner, boost, raw_scores
from transforms.forecast.likelihood import HEADS
from transforms.forecast.parametric import Parametric, cross_fit_family
from transforms.forecast.training import CrossFit, QuantileModel, TrainingSet

Floats = NDArray[np.float64]

#: Tried wherever they suit the target; `student_t` is `skew_t` without skew.
CANDIDATES = ("normal", "skew_t", "lognormal", "gamma", "zero_inflated_lognormal")

_ROUNDS = 100
_STOPS = (0, 25, 50, _ROUNDS)  # of the gate; at 0 the weights are the same in all rows
_PARAMETERS = {
    "num_leaves": 4,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    "min_sum_hessian_in_leaf": 1.0,
    "lambda_l2": 1.0,
}
_LEAST_SHARE = 0.01  # families with a smaller mean weight are left out
_LEAST_WEIGHT = 1e-6  # where the gate starts: from zero, no gradient would lead away


@dataclass(frozen=True, slots=True)
class SelectedFamily:
    """Fitted families and their gate."""

    kind: ClassVar[str] = "selected_family"
    members: tuple[Parametric, ...]
    gate: tuple[str, ...]  #: a booster of each member's score
    start: tuple[float, ...]  #: what each member's trees are added to

    @property
    def boosters(self) -> tuple[str, ...]:
        """Those of the gate, then those of each member."""
        return self.gate + tuple(text for member in self.members for text in member.boosters)

    def weights(self, X: Floats) -> Floats:
        """Return how much each member counts in each row, shape (n, members); rows sum to 1."""
        return _weights(np.array(self.start), self.gate, X)

    def parameters(self, X: Floats) -> dict[str, Floats]:
        """Return weights and parameters by names such as ``gamma.weight`` and ``gamma.mean``."""
        found = {}
        for member, weight in zip(self.members, self.weights(X).T, strict=True):
            found[f"{member.family}.weight"] = weight
            own = member.parameters(X)
            found.update({f"{member.family}.{name}": values for name, values in own.items()})
        return found

    def log_density(self, X: Floats, y: Floats) -> Floats:
        """Return the log density of each row's outcome under its mixture, shape (n,)."""
        return mixture.log_density(y, self.weights(X), self._components(X))

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row's mixture, shape (n, levels)."""
        levels, limits = np.array(self.members[0].levels), self.members[0].limits
        return np.clip(mixture.quantile(levels, self.weights(X), self._components(X)), *limits)

    def _components(self, X: Floats) -> list[Component]:
        return [
            Component(HEADS[member.family].family, tuple(member.parameters(X).values()))
            for member in self.members
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the boosters as JSON values."""
        return {
            "members": [member.to_dict() for member in self.members],
            "start": list(self.start),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> SelectedFamily:
        """Return what `to_dict` wrote."""
        count = len(state["members"])
        members, first = [], count
        for own in state["members"]:
            last = first + len(HEADS[own["family"]].coordinates)
            members.append(Parametric.from_dict(own, boosters[first:last]))
            first = last
        return cls(members=tuple(members), gate=boosters[:count], start=tuple(state["start"]))


def cross_fit_selected_family(
    training: TrainingSet, candidates: Sequence[str] = CANDIDATES
) -> CrossFit:
    """Fit the candidates that suit the target, and a gate on their out-of-fold densities.

    The gate that weighs a fold's rows has seen the other folds only; how many rounds it takes is
    what gives those weights the highest likelihood. Families that count for less than a hundredth
    are left out, and if one alone is left, `refit` returns that.
    """
    names = [name for name in candidates if HEADS[name].family.suits(training.y)]
    fits = [cross_fit_family(training, name) for name in names]
    components = [
        Component(HEADS[name].family, fit.parameters) for name, fit in zip(names, fits, strict=True)
    ]
    densities = mixture.log_densities(training.y, components)
    weights, rounds = _cross_gate(training, densities)
    quantiles = mixture.quantile(training.levels, weights, components)

    def refit() -> QuantileModel:
        kept = np.average(weights, axis=0, weights=training.weights) >= _LEAST_SHARE
        members = [fit.refit() for fit, keep in zip(fits, kept, strict=True) if keep]
        if len(members) == 1:
            return members[0]
        start, gate = _grow(training, densities[:, kept], rounds)
        return SelectedFamily(tuple(members), gate, tuple(start.tolist()))

    return CrossFit(quantiles=np.clip(quantiles, *fits[0].limits), refit=refit)


def _cross_gate(training: TrainingSet, densities: Floats) -> tuple[Floats, int]:
    """Return each row's weights from gates that did not see its fold, and the best of `_STOPS`."""
    found = {stop: np.empty_like(densities) for stop in _STOPS}
    for fold in np.unique(training.folds):
        test = training.folds == fold
        start, gate = _grow(training.take(~test), densities[~test], _ROUNDS)
        for stop in _STOPS:
            found[stop][test] = _weights(start, gate, training.X[test], stop)
    likelihood = _relative(densities)

    def loss(stop: int) -> float:
        # at least the weight that gates start from: an outcome that the members cannot have counts
        chance = np.maximum((found[stop] * likelihood).sum(axis=1), _LEAST_WEIGHT)
        return -float(np.average(np.log(chance), weights=training.weights))

    best = min(_STOPS, key=loss)
    return found[best], best


def _grow(training: TrainingSet, densities: Floats, rounds: int) -> tuple[Floats, tuple[str, ...]]:
    """Return start and boosters of a gate by the likelihood of the mixture.

    With weights w = softmax(scores) and r_k the posterior chance that a row is of family k, the
    slope of the negative log-likelihood in score k is w_k − r_k. Scores start at the best weights
    that are the same for all rows, by expectation–maximisation.
    """
    likelihood = _relative(densities)
    own = np.ones(len(densities)) if training.weights is None else training.weights
    start = np.log(np.maximum(_constant_weights(likelihood, own), _LEAST_WEIGHT))
    if rounds == 0:
        return start, (NO_TREES,) * len(start)
    raw = np.tile(start, (len(densities), 1))

    def learner(place: int) -> Learner:
        def objective(scores: Floats) -> tuple[Floats, Floats]:
            raw[:, place] = start[place] + scores
            weights = softmax(raw, axis=1)
            joint = weights * likelihood
            weight, posterior = weights[:, place], joint[:, place] / joint.sum(axis=1)
            return weight - posterior, np.maximum(weight * (1 - weight), 1e-3)

        return Learner(objective)

    gate = boost(
        training.X,
        [learner(place) for place in range(len(start))],
        rounds=rounds,
        categories=training.categories,
        seed=training.seed,
        parameters=_PARAMETERS,
        weights=training.weights,
    )
    return start, gate


def _constant_weights(likelihood: Floats, own: Floats) -> Floats:
    weights = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(200):
        joint = weights * likelihood
        weights = own @ (joint / joint.sum(axis=1, keepdims=True)) / own.sum()
    return weights


def _relative(densities: Floats) -> Floats:
    """Return densities relative to the row's highest; 1 where no family can have the outcome."""
    most = densities.max(axis=1, keepdims=True)
    possible = np.isfinite(most)
    return np.where(possible, np.exp(densities - np.where(possible, most, 0)), 1)


def _weights(start: Floats, gate: tuple[str, ...], X: Floats, trees: int | None = None) -> Floats:
    scores = np.column_stack([raw_scores(text, X, trees) for text in gate])
    weights: Floats = softmax(start + scores, axis=1)
    return weights
