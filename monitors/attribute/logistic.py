"""Ridge logistic regression of target rows against source rows, cross-fitted.

A classifier that tells two tables apart is a model of the ratio of their densities: with p(x) the
probability that a row at x is of the target, p / (1 − p) is proportional to the ratio (Qin,
Biometrika 1998; Bickel, Brückner and Scheffer, JMLR 2009). A logistic model fitted by maximum
likelihood is calibrated by construction; the ridge is chosen by its loss on rows left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from monitors.encoder import FloatArray

RIDGES = (1.0, 10.0, 100.0)  # prior precision of the coefficient of a standardised term
_MOST_STEPS = 40
_LARGEST_STEP = 2.0  # of a coefficient: far from the optimum a Newton step overshoots
_TOLERANCE = 1e-3  # of a coefficient, whose standard error is some hundredths


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What the models of each fold's complement say of the fold; the information of all rows."""

    logits: FloatArray  #: shape (n,), what the terms add to the offset
    chance: FloatArray  #: shape (n,), of being a target row
    inverse: FloatArray  #: shape (p, p), of the penalised information at the fit to all rows


def cross_fit(
    X: FloatArray, target: NDArray[np.bool_], folds: NDArray[np.intp], offset: FloatArray
) -> CrossFit:
    """Fit on all rows and on each fold's complement, at the ridge that does best out of fold.

    Parameters
    ----------
    X : FloatArray, shape (n, p)
        Terms; the first is 1 and has no ridge.
    target : which rows are the target's.
    folds : the fold of each row.
    offset : FloatArray, shape (n,)
        Known part of each row's logit, by models without the row.
    """
    unit = np.ones(X.shape[1])
    unit[0] = 1e-6
    best = None
    best_loss = np.inf
    theta = np.zeros(X.shape[1])
    for ridge in reversed(RIDGES):
        penalty = ridge * unit
        theta, inverse = _newton(X, target, offset, penalty, theta)
        logits = np.empty(len(X))
        for fold in np.unique(folds):
            out = folds == fold
            own = _descend(X[~out], target[~out], offset[~out], penalty, theta, inverse)
            logits[out] = X[out] @ own
        total = logits + offset
        loss = float(np.logaddexp(0.0, np.where(target, -total, total)).mean())
        if loss < best_loss:
            best_loss, best = loss, CrossFit(logits, expit(total), inverse)
    assert best is not None  # noqa: S101 (a mean of finite losses is less than infinity)
    return best


def _newton(
    X: FloatArray,
    target: NDArray[np.bool_],
    offset: FloatArray,
    penalty: FloatArray,
    start: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients, and the inverse of the penalised information at them."""
    theta = start.copy()
    for _ in range(_MOST_STEPS):
        chance = expit(X @ theta + offset)
        information = (X * (chance * (1.0 - chance))[:, None]).T @ X + np.diag(penalty)
        inverse = np.linalg.inv(information)
        step = inverse @ (X.T @ (target - chance) - penalty * theta)
        size = float(np.abs(step).max())
        theta += step * min(1.0, _LARGEST_STEP / max(size, _TOLERANCE))
        if size < _TOLERANCE:
            break
    return theta, inverse


def _descend(
    X: FloatArray,
    target: NDArray[np.bool_],
    offset: FloatArray,
    penalty: FloatArray,
    start: FloatArray,
    inverse: FloatArray,
) -> FloatArray:
    """Return the coefficients of most of the rows, starting at those of all rows.

    The information of all rows, which is a little more, makes each step a little short, and saves
    computing another.
    """
    theta = start.copy()
    for _ in range(_MOST_STEPS):
        chance = expit(X @ theta + offset)
        step = inverse @ (X.T @ (target - chance) - penalty * theta)
        theta += step
        if float(np.abs(step).max()) < _TOLERANCE:
            break
    return theta
