"""The conditional probability integral transform of every feature, by boosted forecasters.

A forecaster of x_j given the other columns (`transforms.forecast.location_scale`) says of every row
at which probability of its forecast the value lies. Two tables with the same x_j given the rest
have the same law of these, whether or not the forecaster is calibrated: what it gets wrong it gets
wrong for both.

The forecasters are fitted to the rows of both tables together, each block of rows being forecast by
those that have not seen it. They do not know which table a row is from, so that blocks dealt anew
need no other forecasters, and the permutation test is exact. Fitted to the reference alone, they
would know its rows, or its other blocks, better than the window's, and that would look like a
change.

A feature that lost its ties is forecast as if it had half of them: its rows are above the forecasts
where those of the other table are below, and neither histogram shows it. So the two are compared by
the smooth test of Neyman (Skandinavisk Aktuarietidskrift 1937): by the means of the first Legendre
polynomials of the probability, which tell its histogram, and of the first of them times the
forecast median, which tells how it goes with the forecast.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift.rows import Dealing, Rows, block_sums

BINS = 20  # of the probability
DEGREE = 4  # of the polynomials: location, spread, skewness, tails
FOLDS = 3
ROUNDS = (25, 50)  # of boosting, chosen out of fold; more find little in thousands of rows


def prepare(rows: Rows, rng: np.random.Generator) -> Dealing:
    """Forecast every number out of fold; return the squared distance of the two tables' means."""
    count = len(rows.in_window)
    folds = rng.permutation(np.arange(count) % FOLDS)[rows.block]
    terms = np.stack([_terms(*_forecast(rows.phi, at, folds)) for at in rows.tested], axis=1)
    inverse = np.linalg.pinv(
        np.einsum("njk,njl->jkl", terms, terms) / len(terms), rcond=1e-9, hermitian=True
    )
    sums = block_sums(terms, rows.block, count)
    sizes = np.bincount(rows.block, minlength=count).astype(np.float64)

    def statistic(in_window: NDArray[np.bool_]) -> FloatArray:
        inside = in_window.astype(np.float64)
        here = inside @ sizes
        weight = len(terms) / (here * (len(terms) - here))  # the terms sum to 0 over both tables
        gaps = np.tensordot(inside, sums, axes=1) * weight[:, None, None]
        distance: FloatArray = np.einsum("djk,jkl,djl->dj", gaps, inverse, gaps)
        return distance

    return Dealing(statistic, rows.in_window)


def squared_effect(distance: FloatArray) -> FloatArray:
    """Return the squared conditional mean shift, in standard deviations; about the distance."""
    return distance


def _forecast(
    phi: FloatArray, column: int, folds: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Return the probability at which each value lies in its forecast, and the forecast's median.

    A probability is the middle of one of `BINS`.
    """
    from transforms.forecast.empirical import cross_fit_climatology
    from transforms.forecast.location_scale import cross_fit_location_scale
    from transforms.forecast.training import TrainingSet

    others, own = np.delete(phi, column, axis=1), phi[:, column]
    training = TrainingSet(others, own, folds, np.arange(1, BINS) / BINS)
    if others.shape[1]:
        fitted = cross_fit_location_scale(training, ROUNDS)
    else:
        fitted = cross_fit_climatology(training)
    below = np.count_nonzero(own[:, None] > fitted.quantiles, axis=1)
    return (below + 0.5) / BINS, fitted.quantiles[:, BINS // 2 - 1]


def _terms(probability: FloatArray, median: FloatArray) -> FloatArray:
    """Return the components of the smooth test, centred over all rows, shape (n, DEGREE + 1)."""
    polynomials = legendre.legvander(2.0 * probability - 1.0, DEGREE)[:, 1:]
    spread = float(median.std())
    standard = (median - median.mean()) / (spread if spread > 0 else 1.0)
    terms = np.column_stack([polynomials, polynomials[:, 0] * standard])
    centred: FloatArray = terms - terms.mean(axis=0)
    return centred
