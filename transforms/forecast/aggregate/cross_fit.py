"""Chooses how forecasters are combined, by what it would have lost out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.aggregate.learn import Lesson, learn_weights
from transforms.forecast.aggregate.model import Aggregate
from transforms.forecast.aggregate.weights import Grain, Weights
from transforms.forecast.training import CrossFit, TrainingSet, some_rows
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]

#: What is combined, where nothing else is said; weights on climatology shrink towards it.
MEMBERS = ("climatology", "symmetric", "location_scale", "direct", "linear")

_MOST_ROWS = 5_000  # that weights are learnt from, evenly spread: there are few of them
_LEAST_SHARE = 0.02  # of a member that is worth its time
_LEAST_GAIN = 0.002  # of the loss of the best single member: less is not worth fitting several


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to make weights depend on levels and rows."""

    grain: Grain
    local: bool = False
    simpler: Scheme | None = None  #: that its weights are drawn to


COARSE = Scheme("coarse")
MEDIUM = Scheme("medium", simpler=COARSE)
FINE = Scheme("fine", simpler=MEDIUM)
LOCAL_COARSE = Scheme("coarse", local=True, simpler=COARSE)
LOCAL_MEDIUM = Scheme("medium", local=True, simpler=MEDIUM)
LOCAL_FINE = Scheme("fine", local=True, simpler=FINE)

#: Those that are tried, simplest first. Local fine weights cost many times as much for little.
SCHEMES = (COARSE, MEDIUM, LOCAL_COARSE, FINE, LOCAL_MEDIUM)


def cross_fit_aggregate(training: TrainingSet, kinds: Sequence[str] = MEMBERS) -> CrossFit:
    """Cross-fit the members and combine them."""
    from transforms.forecast.kinds import CROSS_FITS  # which lists this kind as well

    return aggregate_trials(training, {kind: CROSS_FITS[kind](training) for kind in kinds})


def aggregate_trials(
    training: TrainingSet, trials: Mapping[str, CrossFit], schemes: Sequence[Scheme] = SCHEMES
) -> CrossFit:
    """Combine forecasters that are cross-fitted already.

    Weights come from the members' out-of-fold quantiles alone; those applied to a fold come from
    the rows of the others. (The models behind these had seen the fold, as in all stacking: its
    outcomes touch its forecasts through few numbers. Strict independence would take K(K − 1)/2
    fits of each member.) A first scheme is kept where it loses less out of fold than the best
    single member by 0.2 %, each after it where it loses less than the one kept so far by more than
    one standard error of the difference. Members whose coarse weight is below 2 % are left out
    before.

    Parameters
    ----------
    training : TrainingSet
        What the trials were cross-fitted on.
    trials : by name, in any order
    schemes : simplest first

    Returns
    -------
    CrossFit
        The member's own when a single one is best.
    """
    names = sorted(trials)
    lesson = Lesson(
        np.stack([trials[name].quantiles for name in names], axis=1),
        training.y,
        training.X,
        training.levels,
        training.categories,
        training.weights,
    )
    some = some_rows(len(training.y), _MOST_ROWS, training.seed)
    few, folds = lesson.take(some), training.folds[some]
    share = np.ones(len(some)) if few.weights is None else few.weights
    share = share / share.sum()
    single = [_losses(few, few.members[:, place]) for place in range(len(names))]
    best = int(np.argmin([share @ losses for losses in single]))
    kept = learn_weights(few, "coarse").shares(len(names)) >= _LEAST_SHARE
    kept[best] = True
    if kept.sum() < 2 or len(np.unique(folds)) < 2:
        return trials[names[best]]
    lesson, few = (replace(part, members=part.members[:, kept]) for part in (lesson, few))

    learnt = {
        fold: _learn(few.take(folds != fold), schemes)
        for fold in np.unique(training.folds).tolist()
    }
    chosen, least = None, single[best]
    for scheme in schemes:
        losses = _losses(few, _out_of_fold(few, folds, learnt, scheme))
        gain = least - losses
        mean = float(share @ gain)
        error = float(np.sqrt(share**2 @ (gain - mean) ** 2))
        if mean > (_LEAST_GAIN * float(share @ least) if chosen is None else error):
            chosen, least = scheme, losses
    if chosen is None:
        return trials[names[best]]
    weights = _learn(few, [chosen])[chosen]

    def refit() -> Aggregate:
        members = [name for name, keep in zip(names, kept, strict=True) if keep]
        return Aggregate(tuple(trials[name].refit() for name in members), weights)

    return CrossFit(_out_of_fold(lesson, training.folds, learnt, chosen), refit)


def _learn(lesson: Lesson, schemes: Sequence[Scheme]) -> dict[Scheme, Weights]:
    """Learn the weights of some schemes, and of those that they are drawn to."""
    found: dict[Scheme, Weights] = {}

    def learn(scheme: Scheme) -> Weights:
        if scheme not in found:
            simpler = None if scheme.simpler is None else learn(scheme.simpler)
            found[scheme] = learn_weights(lesson, scheme.grain, simpler, local=scheme.local)
        return found[scheme]

    for scheme in schemes:
        learn(scheme)
    return found


def _out_of_fold(
    lesson: Lesson,
    folds: NDArray[np.int64],
    learnt: Mapping[int, Mapping[Scheme, Weights]],
    scheme: Scheme,
) -> Floats:
    """Return the aggregate's quantiles of rows, by the weights learnt without their fold."""
    quantiles = np.empty((len(lesson.y), len(lesson.levels)))
    for fold, weights in learnt.items():
        own = folds == fold
        quantiles[own] = weights[scheme].combine(lesson.members[own], lesson.X[own])
    return quantiles


def _losses(lesson: Lesson, quantiles: Floats) -> Floats:
    """Return the mean pinball loss of each row, shape (n,)."""
    losses: Floats = pinball_loss(lesson.y, quantiles, lesson.levels).mean(axis=1)
    return losses
