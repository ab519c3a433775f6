"""The density ratio of a mechanism: its law in the window over its law in the reference.

For columns x given their parents it is w = r(x, parents) / r(parents) (Zhang, Singh, Ghassemi and
Joshi, ICML 2023, section 4), r a ratio of joint densities by a classifier. Two classifiers of many
columns differ by more noise than one column's law moves. So r(parents) is the offset of the second
classifier, which learns what is left in few terms: the residual e of x on its parents in the
reference, e², and e times what predicts x. Between Gaussian conditionals with another mean,
coefficient or variance the log ratio is a combination of just these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from monitors.attribute.encoded import Encoded
from monitors.attribute.logistic import cross_fit
from monitors.encoder import FloatArray

MOST_TERMS = 100  # of a classifier; beyond it, principal components
MOST_PRODUCTS = 8  # first terms whose pairwise products are terms as well
PREDICTORS = 8  # basis columns of the parents that a change of dependence may go by
FURTHEST = 4.0  # standard deviations: farther residuals say no more
RIDGE = 1e-2  # of unit variance, as in the test that names features


@dataclass(frozen=True, slots=True)
class LogRatio:
    """The log density ratio of every row, up to a constant, by classifiers that did not see it."""

    values: FloatArray  #: shape (n,)
    terms: FloatArray  #: shape (n, k), which it is linear in
    moved: FloatArray  #: shape (blocks, k): what each block did to the coefficients, to first order


def joint_ratio(rows: Encoded, columns: Sequence[str]) -> LogRatio:
    """Return the log ratio of the joint density of some columns."""
    terms = rows.of(columns)
    first = [rows.groups[name][0] for name in columns if len(rows.groups[name])]
    if len(first) <= MOST_PRODUCTS:
        products = [rows.phi[:, i] * rows.phi[:, j] for i, j in combinations(first, 2)]
        terms = np.column_stack([terms, *products])
    if terms.shape[1] > MOST_TERMS:
        centred = terms - terms.mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        terms = centred @ axes[:, -MOST_TERMS:]
    X = _standard(terms, rows)
    fit = cross_fit(X, rows.window, rows.folds, np.zeros(len(X)))
    moved = rows.block_sums((rows.window - fit.chance)[:, None] * X) @ fit.inverse
    return LogRatio(fit.logits, X, moved)


def conditional_ratio(
    rows: Encoded, column: str, parents: Sequence[str], given: LogRatio
) -> LogRatio:
    """Return the log ratio of the density of a column given its parents.

    Parameters
    ----------
    given : the ratio of the joint density of the parents.
    """
    own, known = rows.of([column]), rows.of(parents)
    if column in rows.measured:
        own = own[:, :1]
    fitted, residual, weights = regress(own, known, ~rows.window)
    deviation = residual[~rows.window].std(axis=0)
    e = np.clip(residual / np.where(deviation > 0, deviation, 1.0), -FURTHEST, FURTHEST)
    best = np.argsort(-np.abs(weights).max(axis=1))[:PREDICTORS]
    predictors = np.column_stack([fitted, known[:, best]])
    terms = [e, predictors, fitted**2]
    if column in rows.measured:
        terms.append(e**2)
    terms += [e * predictors[:, [j]] for j in range(predictors.shape[1])]
    X = _standard(np.column_stack(terms), rows)
    fit = cross_fit(X, rows.window, rows.folds, given.values)
    scores = rows.block_sums((rows.window - fit.chance)[:, None] * X)
    shared = (X * (fit.chance * (1.0 - fit.chance))[:, None]).T @ given.terms
    return LogRatio(fit.logits, X, (scores - given.moved @ shared.T) @ fit.inverse)


def regress(
    own: FloatArray, known: FloatArray, source: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Regress columns on others by ridge in the reference.

    Parameters
    ----------
    own : FloatArray, shape (n, k)
    known : FloatArray, shape (n, p)
    source : the rows of the reference.

    Returns
    -------
    fitted : FloatArray, shape (n, k)
        By all rows of the reference.
    residual : FloatArray, shape (n, k)
        In the reference, that of the fit to all other rows: as large as those of new rows.
    weights : FloatArray, shape (p, k)
    """
    centre = known[source].mean(axis=0)
    X = known - centre
    mean = own[source].mean(axis=0)
    count = np.count_nonzero(source)
    inverse = np.linalg.inv(X[source].T @ X[source] + RIDGE * count * np.eye(X.shape[1]))
    weights = inverse @ (X[source].T @ (own[source] - mean))
    fitted = mean + X @ weights
    leverage = 1.0 / count + np.einsum("ij,jk,ik->i", X[source], inverse, X[source], optimize=True)
    residual = own - fitted
    residual[source] /= (1.0 - np.minimum(leverage, 0.9))[:, None]
    return fitted, residual, weights


def _standard(terms: FloatArray, rows: Encoded) -> FloatArray:
    """Return 1 and the terms at mean 0 and variance 1 in the reference."""
    own = terms[~rows.window]
    deviation = own.std(axis=0)
    scaled = (terms - own.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0)
    return np.column_stack([np.ones(len(terms)), scaled])
