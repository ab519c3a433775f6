"""Moves a sensor's values of the reference to where its law in the window would have them.

Weights cannot reach where the reference has no rows, and a sensor that is five degrees off has left
them all. A number that nothing else depends on can be moved instead. With m(z) and s(z) the mean
and the scale of the column x given its parents z in the reference, and u = (x − m(z)) / s(z),

    x' = m(z) + δ(z) + s(z) Q(F(u)),

δ(z) the window's mean of x − m(z) given z, F the distribution function of u in the reference, and
Q the quantiles of what δ leaves in the window, over s(z). It is the monotone map of one conditional
law to the other where the shape of u does not depend on z: the structural model of Budhathoki,
Janzing, Blöbaum and Ng ("Why did the distribution change?", AISTATS 2021), the noise of each row
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.attribute.density_ratio import PREDICTORS, regress
from monitors.attribute.encoded import Encoded
from monitors.encoder import FloatArray

LEAST_ROWS = 20  # with a value, in the window: fewer say that it is missing, and no more
_RIDGES = (1e-2, 1e-1, 1.0, 1e6)  # times the window's rows; the last leaves a constant
_STEP = 0.25  # standard deviations of a residual
_NARROWEST = 1.0 / 3.0  # scale of a row over the mean one's; the widest is its inverse


@dataclass(frozen=True, slots=True)
class Transport:
    """One column of the reference's rows, as the window's mechanism would have it."""

    values: FloatArray  #: shape (n,), n the rows of the reference; NaN where missing
    slopes: FloatArray  #: shape (n, k): of the values, by the parameters of the map
    moved: FloatArray  #: shape (blocks, k): what each block did to the parameters, to first order
    step: float  #: a change of the values that is small for the column


def transport(
    rows: Encoded, values: FloatArray, parents: Sequence[str], rng: np.random.Generator
) -> Transport:
    """Fit the map on the window, and move the reference.

    Gaps that are more frequent in the window than in the reference fall on rows at random.

    Parameters
    ----------
    values : FloatArray, shape (n,)
        The column in the reference and then in the window, NaN where missing.
    parents : what its law is given.
    """
    present, source = ~np.isnan(values), ~rows.window
    there, here = present & source, present & rows.window
    moved = np.full(len(values), np.nan)
    if min(np.count_nonzero(here), np.count_nonzero(there)) < LEAST_ROWS:
        nothing = np.zeros((len(values), 1))
        return Transport(moved[source], nothing[source], rows.block_sums(nothing), 1.0)
    measured = [rows.measured[name] for name in parents if name in rows.measured]
    known = np.column_stack([rows.of(parents), *measured])
    means, residuals, weights = regress(values[:, None], known, there)
    m, e = means[:, 0], residuals[:, 0]
    best = np.argsort(-np.abs(weights[:, 0]))[:PREDICTORS]
    D = _standard(np.column_stack([m, known[:, best]]), there)
    s = _scale(D, e, there)
    D = np.clip(D, D[here].min(axis=0), D[here].max(axis=0))  # the window says nothing beyond
    delta, left, inverse = _mean_residual(D[here], e[here], rows.folds[here])
    left, u = left / s[here], e[there] / s[there]
    place = (np.argsort(np.argsort(u)) + 0.5) / len(u)
    q = s[there] * np.interp(place, (np.arange(len(left)) + 0.5) / len(left), np.sort(left))
    moved[there] = m[there] + D[there] @ delta + q

    slopes = np.zeros((len(values), D.shape[1] + 1))
    slopes[there] = np.column_stack([D[there], q])
    errors = np.zeros_like(slopes)
    errors[here] = _errors(D[here], left * s[here], inverse)
    # Ranks keep the errors of the reference's own fit out of x', and so in x' − x.
    own = np.asarray(np.linalg.pinv(D[there].T @ D[there]), np.float64)
    errors[there] = -_errors(D[there], e[there], own)
    spread = float(u.std())
    errors[there, :-1] *= float(left.std()) / spread if spread > 0 else 0.0

    share = np.count_nonzero(there) / np.count_nonzero(source)
    kept = np.count_nonzero(here) / np.count_nonzero(rows.window) / share
    moved[rng.random(len(values)) > kept] = np.nan
    step = _STEP * float(e[there].std()) or 1.0
    return Transport(moved[source], slopes[source], rows.block_sums(errors), step)


def _standard(terms: FloatArray, there: NDArray[np.bool_]) -> FloatArray:
    """Return 1 and the terms at mean 0 and variance 1 in the reference."""
    spread = terms[there].std(axis=0)
    scaled = (terms - terms[there].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.column_stack([np.ones(len(terms)), scaled])


def _scale(D: FloatArray, e: FloatArray, there: NDArray[np.bool_]) -> FloatArray:
    """Return the scale of every row's residual, geometric mean 1: log e² is linear in D and D².

    The estimator of Harvey, "Estimating regression models with multiplicative heteroscedasticity",
    Econometrica 1976.
    """
    squares = e[there] ** 2
    logs = np.log(squares + 1e-4 * squares.mean() + 1e-300)
    terms = np.column_stack([D[:, 1:], D[:, 1:] ** 2])
    fitted, _, _ = regress(_spread(logs, there), terms, there)
    log_scale = 0.5 * (fitted[:, 0] - logs.mean())
    scale: FloatArray = np.exp(np.clip(log_scale, np.log(_NARROWEST), -np.log(_NARROWEST)))
    return scale


def _spread(values: FloatArray, there: NDArray[np.bool_]) -> FloatArray:
    whole = np.full((len(there), 1), np.nan)
    whole[there, 0] = values
    return whole


def _errors(D: FloatArray, residual: FloatArray, inverse: FloatArray) -> FloatArray:
    """Return what each row did to the coefficients of D, and to the log of the residual's scale."""
    variance = float(np.mean(residual**2))
    scale = residual**2 / variance - 1.0 if variance > 0 else np.zeros_like(residual)
    return np.column_stack([(D * residual[:, None]) @ inverse, 0.5 * scale / len(residual)])


def _mean_residual(
    D: FloatArray, e: FloatArray, folds: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Regress the window's residuals by ridge, as strong as does best on the folds left out.

    Returns
    -------
    delta : FloatArray, shape (k,)
    left : FloatArray, shape (n,)
        The residuals of each fold by the fit to all others.
    inverse : FloatArray, shape (k, k)
    """
    best = None
    lowest = np.inf
    for ridge in _RIDGES:
        penalty = np.full(D.shape[1], ridge * len(e))
        penalty[0] = 0.0
        left = np.empty_like(e)
        for fold in np.unique(folds):
            out = folds == fold
            left[out] = e[out] - D[out] @ _ridge(D[~out], e[~out], penalty)[0]
        if (loss := float(np.mean(left**2))) < lowest:
            lowest, best = loss, (*_ridge(D, e, penalty), left)
    assert best is not None  # noqa: S101 (finite residuals have a finite mean square)
    delta, inverse, left = best
    return delta, left, inverse


def _ridge(D: FloatArray, e: FloatArray, penalty: FloatArray) -> tuple[FloatArray, FloatArray]:
    inverse: FloatArray = np.asarray(np.linalg.inv(D.T @ D + np.diag(penalty)), np.float64)
    return inverse @ (D.T @ e), inverse
