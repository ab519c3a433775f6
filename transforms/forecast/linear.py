"""Linear quantile regression: few rows, straight effects, and little else.

Trees approximate a line by steps, and need rows for each step. Where effects are straight this kind
is better on few rows, and its errors differ from theirs, which is what an aggregate lives on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.design import Design, learn_design
from transforms.forecast.smooth_pinball import smooth_pinball
from transforms.forecast.training import CrossFit, TrainingSet, some_rows
from transforms.isotonic import sort_quantiles

Floats = NDArray[np.float64]

_MOST_ROWS = 20_000  # evenly spread: with so many, a few dozen coefficients are known well enough
_PRIOR_ROWS = 10.0  # how many rows speak for coefficients of 0
_FIRST_WIDTH, _LEAST_WIDTH = 0.3, 0.05  # of the rounded corner, in units of the residuals
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted linear quantile regression."""

    kind: ClassVar[str] = "linear"
    design: Design
    #: intercept and slopes of each level, shape (1 + columns, levels), in the target's unit
    coefficients: Floats
    limits: tuple[float, float]  #: the target's range, widened by half of itself on both sides

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels): sorted, for planes may cross."""
        # not by @, whose last bits depend on how many rows are asked for at once
        slopes = np.einsum("nc,ck->nk", self.design.matrix(X), self.coefficients[1:])
        found = self.coefficients[0] + slopes
        return np.asarray(np.clip(sort_quantiles(found), *self.limits))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "design": self.design.to_dict(),
            "coefficients": self.coefficients.tolist(),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Linear:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        return cls(
            design=Design.from_dict(state["design"]),
            coefficients=np.array(state["coefficients"], np.float64),
            limits=(state["limits"][0], state["limits"][1]),
        )


def fit_linear(training: TrainingSet) -> Linear:
    """Fit all levels at once by convolution-smoothed quantile regression.

    The smoothed loss (`smooth_pinball`) plus a ridge penalty of `_PRIOR_ROWS` rows on the slopes of
    standardised columns, by L-BFGS on whitened columns. The corner's width is
    max(0.05, ½ ((d + log n)/n)^0.4) (He, Pan, Tan and Zhou, Journal of Econometrics 2023, §5) in
    units of the residuals, which are those of a first fit with a wider corner.
    """
    few = training.take(some_rows(len(training.y), _MOST_ROWS, training.seed))
    design = learn_design(few.X, few.categories)
    columns = np.column_stack([np.ones(len(few.y)), design.matrix(few.X)])
    rows, width = columns.shape
    share = np.full(rows, 1 / rows) if few.weights is None else few.weights / few.weights.sum()
    ridge = np.full(width, _PRIOR_ROWS / rows)
    ridge[0] = 1e-9  # the intercept is free; not 0, that the matrix below has a root
    root = np.linalg.cholesky(columns.T @ (columns * share[:, None]) + np.diag(ridge))
    unwhiten = np.linalg.inv(root).T
    problem = _Problem(columns @ unwhiten, share, unwhiten, ridge, training.levels)

    centre, unit = _standard(few.y)
    scaled = (few.y - centre) / unit
    start = np.zeros((width, len(training.levels)))
    start[0] = np.quantile(scaled, training.levels)
    found = problem.solve(scaled, start, _FIRST_WIDTH)
    error = scaled - columns @ found[:, len(training.levels) // 2]
    low, high = np.quantile(error, [0.25, 0.75])
    corner = max(_LEAST_WIDTH, 0.5 * ((width + math.log(rows)) / rows) ** 0.4)
    spread = float(high - low) / 1.349
    if spread > 0:
        found = problem.solve(scaled, found, corner * min(spread, 1.0))
    found *= unit
    found[0] += centre
    lowest, highest = float(training.y.min()), float(training.y.max())
    reach = (highest - lowest) / 2
    return Linear(design, found, (lowest - reach, highest + reach))


def cross_fit_linear(training: TrainingSet) -> CrossFit:
    """Fit on each fold's complement and forecast the fold."""
    quantiles = np.empty((len(training.y), len(training.levels)))
    for fold in np.unique(training.folds):
        test = training.folds == fold
        quantiles[test] = fit_linear(training.take(~test)).quantiles(training.X[test])
    return CrossFit(quantiles=quantiles, refit=lambda: fit_linear(training))


@dataclass(frozen=True, slots=True)
class _Problem:
    """A penalised smoothed quantile regression on whitened columns."""

    whitened: Floats  #: shape (n, d)
    share: Floats  #: of each row in the loss, shape (n,)
    unwhiten: Floats  #: from coefficients of the whitened columns to those of the columns, (d, d)
    ridge: Floats  #: shape (d,)
    levels: Floats

    def solve(self, y: Floats, start: Floats, width: float) -> Floats:
        """Return the coefficients of the columns, shape (d, levels)."""
        from scipy.optimize import minimize

        def objective(flat: Floats) -> tuple[float, Floats]:
            own = flat.reshape(start.shape)
            loss, slope = smooth_pinball(y[:, None] - self.whitened @ own, self.levels, width)
            coefficients = self.unwhiten @ own
            penalty = self.ridge[:, None] * coefficients
            gradient = self.unwhiten.T @ penalty - self.whitened.T @ (slope * self.share[:, None])
            value = float(self.share @ loss.sum(axis=1) + 0.5 * (coefficients * penalty).sum())
            return value, gradient.ravel()

        whitened = np.linalg.solve(self.unwhiten, start)
        options = {"maxiter": _STEPS, "gtol": 1e-4, "ftol": 1e-5}
        found = minimize(objective, whitened.ravel(), jac=True, method="L-BFGS-B", options=options)
        return np.asarray(self.unwhiten @ found.x.reshape(start.shape), np.float64)


def _standard(y: Floats) -> tuple[float, float]:
    """Median and a robust unit: the normal-consistent interquartile range, else the deviation."""
    low, centre, high = np.quantile(y, [0.25, 0.5, 0.75])
    unit = float(high - low) / 1.349
    return float(centre), unit if unit > 0 else float(y.std()) or 1.0
