"""A Student-t with location, scale and skew: its gradients, and quantiles by pooled residuals.

A quantile of row x is m(x) + s(x) exp(±g(x)) u_p: the residual quantiles u_p are one set of numbers
for all rows, stretched on the right of the location and shrunk on its left where g > 0. This is
increasing in u, so levels cannot cross.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.empirical import mean_pinball, sample_quantiles
from transforms.forecast.training import TrainingSet

Floats = NDArray[np.float64]
Steps = Callable[[Floats], tuple[Floats, Floats]]  #: raw scores to gradient and hessian

_NU = 5.0  # tails: heavy enough that outliers do not steer the location
_ROWS_TO_CHOOSE = 10_000  # evenly spread: enough to tell boostings of one kind apart
SCALE_BOUNDS, SKEW_BOUNDS = (-5.0, 4.0), (-1.0, 1.0)  # logs, of the target's own unit


def objectives(scaled: Floats) -> tuple[Steps, Steps, Steps]:
    """Return Fisher scoring of the location, the log-scale and the skew, which share their state.

    With r = y − m, z = r/s and w = (ν + 1)/(ν + z²), the gradients of the negative log-likelihood
    are −w z/s for m and 1 − w z² for log s, with Fisher information (ν + 1)/((ν + 3) s²) and
    2ν/(ν + 3). The skew g has the likelihood of |r| given its side, scale s exp(±g): gradient
    ±(1 − w z²) at that scale. It leaves the location alone, which would otherwise drift to the
    mode. Each sees the others as they were before their latest step.

    Parameters
    ----------
    scaled : float64 array, shape (n,): the target less its centre, in its own unit
    """
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
        log_scale = np.clip(scores, *SCALE_BOUNDS)
        precision = np.exp(-2 * log_scale)
        return 1 - weighted(error * error * precision), information

    def skew(scores: Floats) -> tuple[Floats, Floats]:
        side = np.where(error >= 0, 1.0, -1.0)
        own_scale = np.exp(-2 * (log_scale + side * np.clip(scores, *SKEW_BOUNDS)))
        return side * (1 - weighted(error * error * own_scale)), information

    return location, scale, skew


def bounded(raw: Floats) -> Floats:
    """Return location, log-scale and skew, shape (n, 3), with the last two within their bounds."""
    location, log_scale, skew = raw.T
    return np.column_stack(
        [location, np.clip(log_scale, *SCALE_BOUNDS), np.clip(skew, *SKEW_BOUNDS)]
    )


def residuals(parameters: Floats, scaled: Floats) -> Floats:
    """Return u of each row, shape (n,), from its parameters, shape (n, 3)."""
    location, log_scale, skew = parameters.T
    error = scaled - location
    found: Floats = error * np.exp(-log_scale - np.sign(error) * skew)
    return found


def quantiles(parameters: Floats, levels_of_residuals: Floats) -> Floats:
    """Return m + s exp(±g) u_p of each row, shape (n, levels), non-decreasing."""
    location, log_scale, skew = parameters.T[:, :, None]
    u = levels_of_residuals
    right, left = np.exp(log_scale + skew), np.exp(log_scale - skew)
    found: Floats = location + np.where(u > 0, right, left) * u
    return np.maximum.accumulate(found, axis=1)  # equal residuals may differ by rounding


def standard(y: Floats) -> tuple[float, float]:
    """Return the median and a robust unit: interquartile range / 1.349, else the deviation."""
    low, centre, high = np.quantile(y, [0.25, 0.5, 0.75])
    unit = float(high - low) / 1.349
    return float(centre), unit if unit > 0 else float(y.std())


def limits(y: Floats) -> tuple[float, float]:
    """Return the target's range, widened by itself on both sides."""
    return float(2 * y.min() - y.max()), float(2 * y.max() - y.min())


def choose(
    parameters: Floats, scaled: Floats, training: TrainingSet, centre: float, unit: float
) -> tuple[int, Floats, tuple[float, ...]]:
    """Choose among boostings that went further and further, by their loss out of fold.

    Residual quantiles come from out-of-fold residuals, which carry the model's own error and so
    do not under-cover as in-sample ones do (CRUDE, Zelikman et al., arXiv 2005.12496); those
    applied to a fold leave that fold out. (The models behind them had seen the fold, so its
    outcomes still touch its forecasts through these few pooled numbers; strict independence would
    take K(K − 1)/2 fits.)

    Parameters
    ----------
    parameters : float64 array, shape (candidates, n, 3)
        Of every row, by models that did not see its fold.
    scaled, centre, unit : the target as the models saw it, and how it is turned back.

    Returns
    -------
    place : int: of the best candidate.
    quantiles : float64 array, shape (n, levels): its forecasts, in the target's unit.
    law : its residual quantiles over all rows.
    """
    some = np.arange(0, len(scaled), -(-len(scaled) // _ROWS_TO_CHOOSE))
    few = training.take(some)
    losses = []
    for own in parameters[:, some]:
        found = _held_out(own, scaled[some], few, centre, unit)
        losses.append(mean_pinball(few.y, found, few.levels, few.weights))
    best = int(np.argmin(losses))
    errors = residuals(parameters[best], scaled)
    law = sample_quantiles(errors, training.levels, training.weights)
    found = _held_out(parameters[best], scaled, training, centre, unit)
    return best, found, tuple(law.tolist())


def _held_out(
    parameters: Floats, scaled: Floats, training: TrainingSet, centre: float, unit: float
) -> Floats:
    """Return the quantiles of each row by the residuals of other folds, shape (n, levels)."""
    y, folds, weights = training.y, training.folds, training.weights
    errors = residuals(parameters, scaled)
    found = np.empty((len(y), len(training.levels)))
    for fold in np.unique(folds):
        test = folds == fold
        others = None if weights is None else weights[~test]
        law = sample_quantiles(errors[~test], training.levels, others)
        found[test] = centre + unit * quantiles(parameters[test], law)
    return np.clip(found, *limits(y))
