"""Learns the weights of forecasters from their out-of-fold quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.aggregate.crossing import Crossing
from transforms.forecast.aggregate.inputs import SUMMARIES, learn_inputs
from transforms.forecast.aggregate.weights import (
    Grain,
    Weights,
    as_sources,
    local_logits,
    mix,
    softmax,
)
from transforms.forecast.smooth_pinball import smooth_pinball
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]

_WIDTH = 0.02  # of the rounded corner of the loss, in units of the mean loss of equal weights
# Penalties are so many rows' worth of squared deviations of logits: of weights from those of the
# next simpler scheme; of slopes from 0, for inputs from the forecasts and for those of features.
_PRIOR, _PRIOR_SUMMARIES, _PRIOR_FEATURES = 1.0, 10.0, 30.0
_OTHER_LEVELS = -5.0  # where the logits of fine weights start for levels other than their own
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Lesson:
    """What weights are learnt from."""

    members: Floats  #: quantiles of rows that the models behind them did not see, (n, members, k)
    y: Floats  #: shape (n,)
    X: Floats  #: shape (n, features)
    levels: Floats  #: shape (k,)
    categories: Sequence[int] = ()  #: positions of the features that are categories
    weights: Floats | None = None  #: how much each row counts; None: all the same

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Lesson:
        """Return some of the rows."""
        return replace(
            self,
            members=self.members[rows],
            y=self.y[rows],
            X=self.X[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


def learn_weights(
    lesson: Lesson,
    grain: Grain,
    simpler: Weights | None = None,
    *,
    local: bool = False,
    crossing: Crossing | None = None,
) -> Weights:
    """Learn weights by the mean pinball loss of the unsorted aggregate, penalised.

    By L-BFGS on the logits with analytic gradients; the pinball loss has a rounded corner
    (`smooth_pinball`). Logits are drawn towards those of a simpler scheme, so that few rows say
    little: coarse weights towards equal ones, medium towards coarse, fine towards medium, and local
    weights towards the global ones of their grain.

    Parameters
    ----------
    lesson : Lesson
    grain : coarse, medium or fine
    simpler : Weights
        Where the logits start, and what they are drawn to; None: equal weights.
    local : bool
        Whether weights depend on the row.
    crossing : Crossing
        A penalty on levels that cross before they are sorted.
    """
    from scipy.optimize import minimize

    members, y, levels = lesson.members, lesson.y, lesson.levels
    share = np.ones(len(y)) if lesson.weights is None else lesson.weights
    share = share / share.sum()
    unit = float(share @ pinball_loss(y, members.mean(axis=1), levels).mean(axis=1))
    if unit == 0:  # equal weights make no error at all
        unit = 1.0
    sources = as_sources(grain, members) / unit
    target = y / unit
    start = _start(grain, members.shape[1], len(levels), simpler)
    made = start.shape[2]
    prior = np.full((1, 1, 1), _PRIOR)
    inputs, columns = None, np.empty((len(y), 0))
    if local:
        inputs = learn_inputs(members, lesson.X, lesson.categories)
        columns = inputs.columns(members, lesson.X)
        start = np.concatenate([start, np.zeros((columns.shape[1], *start.shape[1:]))])
        prior = np.full((len(start), 1, 1), _PRIOR_FEATURES)
        prior[0], prior[1 : 1 + SUMMARIES] = _PRIOR, _PRIOR_SUMMARIES
    prior = prior / (len(y) * made)
    margins = None if crossing is None else crossing.margins(members, y, levels) / unit

    def objective(flat: Floats) -> tuple[float, Floats]:
        logits = flat.reshape(start.shape)
        weights = softmax(local_logits(logits, columns) if local else logits)
        found = mix(weights, sources)
        loss, slope = smooth_pinball(target[:, None] - found, levels, _WIDTH)
        value = float(share @ loss.mean(axis=1))
        pull = slope * (-share[:, None] / len(levels))  # of the value with respect to `found`
        if crossing is not None and margins is not None:
            crossed, crossed_pull = crossing.penalty(found, margins, share)
            value, pull = value + crossed, pull + crossed_pull
        by_weight = _by_weight(pull, sources, made, local=local)
        by_logit = weights * (by_weight - (weights * by_weight).sum(axis=1, keepdims=True))
        if local:
            slopes = columns.T @ by_logit.reshape(len(columns), -1)
            by_logit = np.concatenate(
                [by_logit.sum(axis=0, keepdims=True), slopes.reshape(-1, *start.shape[1:])]
            )
        off = logits - start
        value += 0.5 * float((prior * off * off).sum())
        return value, (by_logit + prior * off).ravel()

    options = {"maxiter": _STEPS, "ftol": 1e-7}
    solved = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Weights(grain, np.asarray(solved.x, np.float64).reshape(start.shape), inputs)


def _start(grain: Grain, members: int, levels: int, simpler: Weights | None) -> Floats:
    """Return the simpler scheme's logits in the shape of this one's, (1, sources, made)."""
    if simpler is None:
        own = np.zeros((members, 1))
    elif simpler.grain == grain:
        return simpler.logits[:1]
    else:
        own = simpler.logits[0]
    if grain == "coarse":
        return own[None]
    own = np.broadcast_to(own, (members, levels))
    if grain == "medium":
        return np.array(own[None])
    other = np.where(np.eye(levels, dtype=bool), 0.0, _OTHER_LEVELS)
    fine: Floats = (own[:, None, :] + other).reshape(1, members * levels, levels)
    return fine


def _by_weight(pull: Floats, sources: Floats, made: int, *, local: bool) -> Floats:
    """Return the derivative with respect to the weights, shape (n or 1, sources, made)."""
    if local:
        each = pull[:, None, :] * sources
        return each if made > 1 else each.sum(axis=2, keepdims=True)
    if sources.shape[2] == 1 and made > 1:
        together: Floats = (sources[:, :, 0].T @ pull)[None]
        return together
    if made == 1:
        return np.asarray(np.einsum("nt,nst->s", pull, sources))[None, :, None]
    return np.asarray(np.einsum("nt,nst->st", pull, sources))[None]
