"""A Gaussian copula of a forecaster's inputs: some of them drawn given the others.

Each column becomes its normal score, and the scores are taken for jointly Gaussian, as the encoder
takes them (the copula method of Aas, Jullum and Løland, Artificial Intelligence 2021). With the
columns in some order, the scores are L ε, L the Cholesky factor of their correlation and ε
independent: the first k scores fix the first k of ε, and the others are drawn. One ε of a row thus
serves every k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from monitors.encoder import FloatArray
from monitors.imputation import fill_gaps
from monitors.quantile_table import WINSOR

_RIDGE = 1e-2  # the encoder's: tells two columns that are one apart by a tenth of a σ
_ROUNDS = 4  # of filling gaps and estimating the correlation that fills them


@dataclass(frozen=True, slots=True)
class GaussianCopula:
    """The joint law of the columns of a matrix."""

    values: tuple[FloatArray, ...]  #: of each column: sorted, gaps left out, categories by place
    levels: Mapping[int, FloatArray]  #: of each category's column: its codes (NaN too) in order
    correlation: FloatArray  #: shape (d, d), of the scores

    def scores(self, X: FloatArray) -> FloatArray:
        """Return the normal scores of rows, shape (n, d); those of gaps are drawn given the others.

        Parameters
        ----------
        X : FloatArray, shape (n, d); NaN: missing
        """
        raw = _scores(self.values, _places(X, self.levels))
        return fill_gaps(raw, _inverse(self.correlation), raw.shape[1])

    def rows(self, scores: FloatArray) -> FloatArray:
        """Return the rows of these scores, shape (n, d): every value is one of the reference's."""
        found = np.empty(scores.shape)
        for j, own in enumerate(self.values):
            place = (ndtr(scores[:, j]) * len(own)).astype(np.intp)
            column = own[np.minimum(place, len(own) - 1)]
            codes = self.levels.get(j)
            found[:, j] = column if codes is None else codes[column.astype(np.intp)]
        return found

    def factor(self, order: NDArray[np.intp]) -> FloatArray:
        """Return L of the columns in some order, shape (d, d), lower triangular."""
        return np.asarray(np.linalg.cholesky(self.correlation[np.ix_(order, order)]), np.float64)


def fit_copula(
    X: FloatArray, forecast: FloatArray, categories: Sequence[int] = ()
) -> GaussianCopula:
    """Fit the copula to rows of the reference.

    Parameters
    ----------
    X : FloatArray, shape (n, d), n ≥ 1; NaN: missing
    forecast : FloatArray, shape (n,)
        Of these rows. The values of a category are put in the order of their mean forecast, so
        that what it has to do with the others shows in its place; missing is one of them.
    categories : columns that hold codes.
    """
    levels = {j: _by_forecast(X[:, j], forecast) for j in categories}
    places = _places(X, levels)
    columns = (column[~np.isnan(column)] for column in places.T)
    values = tuple(np.sort(own) if len(own) else np.full(1, np.nan) for own in columns)
    raw = _scores(values, places)
    correlation = np.eye(X.shape[1])
    for _ in range(_ROUNDS if np.isnan(raw).any() else 1):
        filled = fill_gaps(raw, _inverse(correlation), raw.shape[1])
        correlation = _correlation(filled)
    return GaussianCopula(values, levels, correlation)


def _scores(values: Sequence[FloatArray], places: FloatArray) -> FloatArray:
    """Return mid-rank normal scores within ±`WINSOR`, NaN of NaN."""
    found = np.full(places.shape, np.nan)
    for j, own in enumerate(values):
        known = ~np.isnan(places[:, j])
        column = places[known, j]
        ranks = np.searchsorted(own, column, "left") + np.searchsorted(own, column, "right")
        found[known, j] = np.clip(ndtri(ranks / (2.0 * len(own))), -WINSOR, WINSOR)
    return found


def _correlation(scores: FloatArray) -> FloatArray:
    """Return the correlation, all dependence shrunk by the ridge; 0 of what does not vary."""
    centred = scores - scores.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    unit = centred / np.where(spread > 0, spread, 1.0)
    found: FloatArray = unit.T @ unit / len(scores) / (1.0 + _RIDGE)
    np.fill_diagonal(found, 1.0)
    return found


def _inverse(correlation: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(correlation), np.float64)


def _by_forecast(codes: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the codes of a category in the order of their mean forecast; NaN is one code."""
    distinct, place = np.unique(codes, return_inverse=True)
    means = np.bincount(place, forecast) / np.bincount(place)
    ordered: FloatArray = distinct[np.argsort(means, kind="stable")]
    return ordered


def _places(X: FloatArray, levels: Mapping[int, FloatArray]) -> FloatArray:
    """Replace the codes of categories by their places; NaN of a code the reference has not."""
    found = X.copy()
    for j, codes in levels.items():
        found[:, j] = np.nan
        for place, code in enumerate(codes):
            same = np.isnan(X[:, j]) if np.isnan(code) else X[:, j] == code
            found[same, j] = place
    return found
