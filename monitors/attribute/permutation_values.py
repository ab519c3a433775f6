"""Shapley values of any function by sampled orders, each with its reverse.

In one order of the features, a feature's contribution is what the function changes by when the
feature joins those before it; its mean over orders is the Shapley value (Castro, Gómez and Tejada,
Computers & Operations Research 2009). An order and its reverse make a pair: where a feature comes
late in one, it comes early in the other, and errors of opposite sign cancel (Mitchell, Cooper,
Frank and Holmes, JMLR 2022). The spread of the pairs tells the error of their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.attribute.conditional_sampler import GaussianCopula
from monitors.encoder import FloatArray

PAIRS = 16  # of orders
_CELLS = 1 << 22  # of the rows that the function is asked for at a time: 32 MB
_ORDERS = 1024  # of the linear part, which asks the function for nothing

Function: TypeAlias = Callable[[FloatArray], FloatArray]  # from rows to one number each
#: From an order and a generator to the rows in which its first 0, 1, …, d features are known.
Completions: TypeAlias = Callable[[NDArray[np.intp], np.random.Generator], Iterator[FloatArray]]


@dataclass(frozen=True, slots=True)
class Sampled:
    """Values with the variance of their error."""

    values: FloatArray  #: shape (n, d)
    variance: FloatArray  #: shape (n, d)
    base: float  #: mean of the function where no feature is known

    def adding_up_to(self, total: FloatArray) -> FloatArray:
        """Return the values, corrected so that a row's sum and the base make a total, shape (n,).

        What is missing is shared in proportion to the variances; a value that is exact stays.
        """
        gap = total - self.base - self.values.sum(axis=1)
        whole = self.variance.sum(axis=1)
        share = self.variance / np.where(whole > 0, whole, 1.0)[:, None]
        found: FloatArray = self.values + share * gap[:, None]
        return found


def sampled_values(
    function: Function,
    completions: Callable[[slice], Completions],
    shape: tuple[int, int],
    seed: int,
    pairs: int = PAIRS,
) -> Sampled:
    """Sample the Shapley values of a function.

    Parameters
    ----------
    completions : of some of the rows: how their unknown features are filled in.
    shape : rows and features.
    pairs : at least two: one has no spread.
    """
    n, d = shape
    step = max(1, _CELLS // ((d + 1) * d))
    values, variance, bases = np.empty(shape), np.empty(shape), []
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        complete = completions(part)
        found = []
        for pair in range(pairs):
            order = np.random.default_rng([seed, pair]).permutation(d)
            both = []
            for own in (order, order[::-1]):
                rng = np.random.default_rng([seed, pair, start])  # the same draws for both
                steps = np.stack(list(complete(own, rng)))
                heights = function(steps.reshape(-1, steps.shape[-1])).reshape(d + 1, -1)
                contributions = np.empty((steps.shape[1], d))
                contributions[:, own] = np.diff(heights, axis=0).T
                both.append(contributions)
                bases.append(heights[0])
            found.append((both[0] + both[1]) / 2)
        values[part] = np.mean(found, axis=0)
        variance[part] = np.var(found, axis=0, ddof=1) / pairs
    return Sampled(values, variance, float(np.concatenate(bases).mean()) if bases else 0.0)


def from_background(X: FloatArray, background: FloatArray) -> Callable[[slice], Completions]:
    """Fill in by a row of the background drawn for each row, whatever is known."""

    def of(part: slice) -> Completions:
        def complete(order: NDArray[np.intp], rng: np.random.Generator) -> Iterator[FloatArray]:
            own = X[part]
            rows = background[rng.integers(len(background), size=len(own))]
            yield rows
            for feature in order:
                rows = rows.copy()
                rows[:, feature] = own[:, feature]
                yield rows

        return complete

    return of


def from_copula(
    X: FloatArray, scores: FloatArray, copula: GaussianCopula
) -> Callable[[slice], Completions]:
    """Fill in by a draw of a copula given what is known; rows are followed by their scores.

    Parameters
    ----------
    X, scores : FloatArrays, shape (n, d): the rows, and `copula.scores` of them.
    """

    def of(part: slice) -> Completions:
        def complete(order: NDArray[np.intp], rng: np.random.Generator) -> Iterator[FloatArray]:
            own, known = X[part], scores[part]
            factor = copula.factor(order)
            fixed = np.linalg.solve(factor, known[:, order].T).T
            noise = rng.standard_normal(known.shape)
            for k in range(len(order) + 1):
                drawn = np.empty(known.shape)
                drawn[:, order] = np.hstack([fixed[:, :k], noise[:, k:]]) @ factor.T
                rows = copula.rows(drawn)
                rows[:, order[:k]] = own[:, order[:k]]
                yield np.hstack([rows, drawn])

        return complete

    return of


def linear_values(
    slopes: FloatArray, scores: FloatArray, copula: GaussianCopula, seed: int
) -> Sampled:
    """Return the values of a linear function of the scores given what is known.

    In one order, feature k adds (L'β)_k ε_k, and no draw is needed. The mean over orders is a
    matrix times the scores, the φ = A (x − μ) of Chen et al. (2020).

    Parameters
    ----------
    slopes : FloatArray, shape (d,)
    scores : FloatArray, shape (n, d)
    """
    d = len(slopes)
    rng = np.random.default_rng([seed, d])
    total, squares = np.zeros(scores.shape), np.zeros(scores.shape)
    for _ in range(_ORDERS // 2):
        order = rng.permutation(d)
        pair = np.zeros(scores.shape)
        for own in (order, order[::-1]):
            factor = copula.factor(own)
            fixed = np.linalg.solve(factor, scores[:, own].T).T
            pair[:, own] += fixed * (slopes[own] @ factor) / 2
        total += pair
        squares += pair**2
    count = _ORDERS // 2
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0) / (count - 1)
    return Sampled(mean, variance, 0.0)
