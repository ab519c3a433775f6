"""Location, scale and skew of the target by oblivious trees; residual quantiles on top.

The model is `student`'s, as in `location_scale`; the trees differ. Oblivious trees suit smooth
targets and many rows: they are grown on samples, read with a few comparisons of whole columns, and
their leaves are boxes that cross the whole range of a feature. What is kept is the mean of the
models of the folds. So the forecasts out of fold cost nothing beside the fit, and errors of single
trees average out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast import student
from transforms.forecast.oblivious.bins import UNKNOWN, Bins, Codes, learn_bins
from transforms.forecast.oblivious.grow import MOST_ROWS, Ensemble, Sample, leaf_of
from transforms.forecast.oblivious.trees import Trees, sums
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]

_STOPS = (20, 40, 80, 160)  # how far the boosting may go, chosen out of fold
STOPS_TO_COMPARE = _STOPS[:-1]  # enough to tell kinds apart on few rows, in half the time
_RATE = 0.15
_SAMPLE, _SAMPLE_ROUNDS = 0.7, 10  # share of few rows that questions are found on, for so long
_PENALTY = 1.0  # rows of mean weight and no gradient, in every leaf
_DEPTH, _ROWS_A_LEAF = 6, 50  # of many rows; of few, so deep that a leaf has so many on average
_SHRINK = 10.0  # rows of a middling target, added to every category
# Location, log-scale, skew: a tree in every so many rounds, after so many. The location needs most
# of the trees; earlier the others would take missing location for noise.
_DUE = ((1, 0), (4, 0), (8, 40))


@dataclass(frozen=True, slots=True)
class Member:
    """The model of one fold's complement."""

    parts: tuple[Trees, Trees, Trees]  #: location, log-scale and skew
    ranks: Mapping[int, Floats]  #: of each category feature: rank of each code; UNKNOWN: not seen

    def columns(self, X: Floats) -> Floats:
        """Return the features with categories as ranks."""
        if not self.ranks:
            return X
        found = X.copy()
        for feature, ranks in self.ranks.items():
            codes = np.where(np.isnan(X[:, feature]), len(ranks), X[:, feature]).astype(np.int64)
            found[:, feature] = np.append(ranks, UNKNOWN)[np.minimum(codes, len(ranks))]
        return found


@dataclass(frozen=True, slots=True)
class Symmetric:
    """A fitted location-scale-skew forecaster of oblivious trees."""

    kind: ClassVar[str] = "symmetric"
    members: tuple[Member, ...]  #: their parameters are averaged
    centre: float
    unit: float
    residuals: tuple[float, ...]  #: u_p at each level
    limits: tuple[float, float]  #: the target's range, widened by itself on both sides

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: the trees are not LightGBM's."""
        return ()

    def parameters(self, X: Floats) -> Floats:
        """Return location, log-scale and skew of each row, shape (n, 3), in units of `unit`."""
        if any(member.ranks for member in self.members):
            found = np.zeros((3, len(X)))
            for member in self.members:
                found += sums(member.parts, member.columns(X))
        else:
            every = sums([part for member in self.members for part in member.parts], X)
            found = every.reshape(-1, 3, len(X)).sum(axis=0)
        return student.bounded(found.T / len(self.members))

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        found = student.quantiles(self.parameters(X), np.array(self.residuals))
        return np.clip(self.centre + self.unit * found, *self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "members": [
                {
                    "parts": [trees.to_dict() for trees in member.parts],
                    "ranks": {str(f): ranks.tolist() for f, ranks in member.ranks.items()},
                }
                for member in self.members
            ],
            "centre": self.centre,
            "unit": self.unit,
            "residuals": list(self.residuals),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Symmetric:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        members = []
        for member in state["members"]:
            location, log_scale, skew = (Trees.from_dict(part) for part in member["parts"])
            ranks = {int(f): np.array(own, np.float64) for f, own in member["ranks"].items()}
            members.append(Member((location, log_scale, skew), ranks))
        return cls(
            members=tuple(members),
            centre=state["centre"],
            unit=state["unit"],
            residuals=tuple(state["residuals"]),
            limits=(state["limits"][0], state["limits"][1]),
        )


def cross_fit_symmetric(training: TrainingSet, stops: Sequence[int] = _STOPS) -> CrossFit:
    """Fit on each fold's complement, and choose the number of rounds out of fold.

    `student.choose` does, and takes the residual quantiles from rows that no member had seen.
    """
    y, folds, weights = training.y, training.folds, training.weights
    centre, unit = student.standard(y)
    scaled = (y - centre) / unit
    bins = learn_bins(training.X, training.categories)
    codes = bins.codes(training.X)
    members = []
    parameters = np.zeros((len(stops), len(y), 3))
    for place, fold in enumerate(np.unique(folds)):
        test = folds == fold
        own = None if weights is None else weights[~test]
        rng = np.random.default_rng([training.seed, place])  # members err apart
        member = _grow(bins, codes[:, ~test], scaled[~test], own, rng, max(stops))
        members.append(member)
        parameters[:, test] = _at_stops(member, training.X[test], stops)

    best, held_out, law = student.choose(parameters, scaled, training, centre, unit)
    kept = tuple(_until(member, stops[best]) for member in members)
    model = Symmetric(kept, centre, unit, law, student.limits(y))
    return CrossFit(quantiles=held_out, refit=lambda: model)


def _grow(
    bins: Bins,
    codes: Codes,
    scaled: Floats,
    weights: Floats | None,
    rng: np.random.Generator,
    rounds: int,
) -> Member:
    """Boost the three parameters side by side, as `student.objectives` says."""
    n = len(scaled)
    depth = int(np.clip(np.log2(n / _ROWS_A_LEAF), 2, _DEPTH))
    codes, ranks = _rank_categories(codes, bins.categories, scaled)
    scores = np.zeros((3, n))
    ensembles = tuple(Ensemble([], [], []) for _ in _DUE)
    objectives = student.objectives(scaled)
    size = min(MOST_ROWS, int(np.ceil(_SAMPLE * n)))
    for step in range(rounds):
        if step % _SAMPLE_ROUNDS == 0:
            sample = Sample(codes, np.sort(rng.choice(n, size, replace=False)), rng)
        for part, (every, after) in enumerate(_DUE):
            if (step + 1) % every or step < after:
                continue
            gradient, hessian = objectives[part](scores[part])
            if weights is not None:
                gradient, hessian = gradient * weights, hessian * weights
            splits = sample.splits(gradient[sample.rows], hessian[sample.rows], depth, _PENALTY)
            leaf = leaf_of(codes, splits)
            count = 1 << len(splits)
            steepness = np.bincount(leaf, hessian, count)
            force = np.bincount(leaf, gradient, count)
            values: Floats = -_RATE * force / (steepness + _PENALTY * float(hessian.mean()))
            scores[part] += values[leaf]
            rows = np.bincount(leaf, weights, count).astype(np.float64)
            ensembles[part].add(splits, values, rows)
    location, log_scale, skew = (ensemble.trees(bins, depth) for ensemble in ensembles)
    return Member((location, log_scale, skew), ranks)


def _rank_categories(
    codes: Codes, categories: tuple[int, ...], scaled: Floats
) -> tuple[Codes, dict[int, Floats]]:
    """Order the codes of each category by the mean rank of its rows' targets, shrunk to the middle.

    Of all cuts of an ordered list the best is the best of all subsets (Fisher, JASA 1958).
    """
    if not categories:
        return codes, {}
    codes = codes.copy()
    order = np.sort(scaled)
    ends = np.searchsorted(order, scaled, "left") + np.searchsorted(order, scaled, "right")
    standing = ends / (2 * len(scaled))
    found: dict[int, Floats] = {}
    for feature in categories:
        own = codes[feature]
        rows = np.bincount(own, minlength=UNKNOWN + 1)
        mean = (np.bincount(own, standing, UNKNOWN + 1) + 0.5 * _SHRINK) / (rows + _SHRINK)
        seen = np.flatnonzero(rows[:UNKNOWN])
        ranks = np.full(UNKNOWN + 1, UNKNOWN, np.uint8)
        ranks[seen[np.argsort(mean[seen], kind="stable")]] = np.arange(len(seen))
        codes[feature] = ranks[own]
        found[feature] = ranks[: int(seen.max(initial=-1)) + 1].astype(np.float64)
    return codes, found


def _at_stops(member: Member, X: Floats, stops: Sequence[int]) -> Floats:
    """Return the parameters of each row after each number of rounds, shape (stops, n, 3)."""
    columns = member.columns(X)
    pieces = []
    for part, trees in enumerate(member.parts):
        ends = [_trees_due(part, stop) for stop in stops]
        pieces += [trees.between(a, b) for a, b in zip([0, *ends], ends, strict=False)]
    steps = sums(pieces, columns).reshape(3, len(stops), len(X))
    found = np.cumsum(steps, axis=1).transpose(1, 2, 0)
    return np.stack([student.bounded(raw) for raw in found])


def _until(member: Member, rounds: int) -> Member:
    location, log_scale, skew = (
        trees.between(0, _trees_due(part, rounds)) for part, trees in enumerate(member.parts)
    )
    return Member((location, log_scale, skew), member.ranks)


def _trees_due(part: int, rounds: int) -> int:
    every, after = _DUE[part]
    return max(rounds // every - after // every, 0)
