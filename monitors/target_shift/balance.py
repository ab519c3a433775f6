"""Weights that balance inputs, by an integral probability metric (Kong et al., ICML 2023).

Rows of one set get weights w on the simplex that bring them as near as can be to another set, by
the maximum mean discrepancy with a Gaussian kernel,

    w' K_AA w − 2 w' K_AB 1/m + 1' K_BB 1/m²,

with w the softmax of free logits (the paper's "nonparametric" weights). No model of the propensity
is fitted, so none can be wrong. The objective is convex in w; its minimum is found by L-BFGS with
the analytic gradient, where the paper takes a thousand steps of Adam. The kernel is as wide as the
median distance.

With them, a metric's change between the sets splits into what the inputs' distribution explains,
and what it does not: a change of the target given the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitors.encoder import FloatArray
from monitors.target_shift.two_sample import median_kernel
from schemas.errors import ReferenceDataError

_STEPS = 500
_TOLERANCE = 1e-9  # of the objective, whose size is that of a kernel's values


@dataclass(frozen=True, slots=True)
class Split:
    """A metric's change between two sets of rows, in its unit."""

    change: float  #: mean after less mean before
    covariate: float  #: of it, what the inputs' distribution explains
    residual: float  #: of it, the rest: the target given the inputs


def balancing_weights(X: FloatArray, to: FloatArray) -> FloatArray:
    """Return weights of the rows of `X` under which they are distributed as the rows of `to`.

    Parameters
    ----------
    X : FloatArray, shape (n, d), without NaN
    to : FloatArray, shape (m, d), without NaN. Columns are standardised on both sets together.

    Returns
    -------
    FloatArray, shape (n,): positive, of mean 1.

    Raises
    ------
    ReferenceDataError
        When either set is empty, or they differ in their columns.
    """
    from scipy.optimize import minimize
    from scipy.special import softmax

    n = len(X)
    if not (n and len(to) and X.shape[1:] == to.shape[1:]):
        raise ReferenceDataError(
            f"balancing weights need rows with the same columns on both sides, not tables of "
            f"{X.shape} and {to.shape}"
        )
    both = np.vstack([X, to])
    spread = both.std(axis=0)
    kernel = median_kernel((both - both.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0))
    own, across = kernel[:n, :n], kernel[:n, n:].mean(axis=1)

    def objective(logits: FloatArray) -> tuple[float, FloatArray]:
        w = softmax(logits)
        drawn = own @ w
        slope = 2.0 * (drawn - across)
        return float(w @ drawn - 2.0 * w @ across), w * (slope - w @ slope)

    found = minimize(
        objective,
        np.zeros(n),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _STEPS, "ftol": 0.0, "gtol": _TOLERANCE},
    )
    weights: FloatArray = n * softmax(found.x)
    return weights


def split_change(before: FloatArray, after: FloatArray, weights: FloatArray) -> Split:
    """Split a metric's change with the weights that balance the rows before to those after.

    Parameters
    ----------
    before : FloatArray, shape (n,): the metric of each row before, such as its loss.
    after : FloatArray, shape (m,), likewise.
    weights : FloatArray, shape (n,): of the rows before.
    """
    was, now, balanced = before.mean(), after.mean(), np.average(before, weights=weights)
    return Split(float(now - was), float(balanced - was), float(now - balanced))
