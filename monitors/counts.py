"""Tests of rare events by their exact counts: missing values, and values the reference never had.

A rare indicator has no Gaussian limit in a window of a few hundred rows, so it is not a basis
column. With K of N in the reference, the count in a window of n rows is beta-binomial: binomial
given the rate, the rate with Jeffreys' posterior Beta(K + ½, N − K + ½). Outages come in bursts: a
variance D times the binomial one makes every count worth 1/D of itself. D is not known but for
the Pearson X² of the reference's own C windows about their common rate: given X², D is
scaled-inverse-χ² with C − 1 degrees of freedom, and the tail is averaged over it.

The reference's own rows cannot tell how often a value is new to it. The share of its values seen
once does (Good 1953, Biometrika 40:237, eq. 9): columns with a long tail of rare values bring some
new ones in every window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, ndtr

from monitors.encoder import Coding, FloatArray

_LEAST = 1e-300  # evidence beyond 300 orders of magnitude says no more
_NODES = np.linspace(-8.0, 8.0, 49)  # of the rate, as normal scores: far enough for p of 1e-15
_NODE_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
_DISPERSIONS = 24


@dataclass(frozen=True, slots=True)
class RateLaw:
    """The predictive law of an event's count in a window."""

    events: float
    rows: float
    windows: int
    chi_square: float  #: Pearson's, of the windows' counts about their common rate

    def evidence(self, count: int, rows: int, *, two_sided: bool) -> float:
        """Return −log₁₀ of the p-value of `count` events in `rows` rows."""
        if rows == 0 or count == self.events == 0:
            return 0.0
        dispersion, weights = self._dispersion()
        n, k = rows / dispersion, count / dispersion
        a = self.events / dispersion + 0.5
        b = (self.rows - self.events) / dispersion + 0.5
        rate = betaincinv(a, b, ndtr(_NODES))
        upper = _average(betainc(k, n - k + 1.0, rate), weights) if count else 1.0
        if not two_sided:
            return -math.log10(max(upper, _LEAST))
        lower = _average(betainc(n - k, k + 1.0, 1.0 - rate), weights) if count < rows else 1.0
        return max(0.0, -math.log10(max(2.0 * min(upper, lower), _LEAST)))

    def _dispersion(self) -> tuple[FloatArray, FloatArray]:
        """Return values of D, shape (values, 1), and their weights."""
        degrees = self.windows - 1
        if degrees < 1 or self.chi_square <= degrees:
            return np.ones((1, 1)), np.ones(1)
        values = np.geomspace(1.0, max(2.0, 20.0 * self.chi_square / degrees), _DISPERSIONS)
        log_weight = -degrees / 2 * np.log(values) - self.chi_square / (2 * values)
        weights = np.exp(log_weight - log_weight.max())  # per unit of log D
        return values[:, None], weights / weights.sum()


def fit_rate(counts: NDArray[np.int64], rows: FloatArray, *, least: float = 0.0) -> RateLaw:
    """Fit the law from the counts of the reference's own windows (or blocks).

    Parameters
    ----------
    counts : int64 array, shape (windows,)
    rows : FloatArray, shape (windows,)
    least : the least rate.
    """
    total, n = float(counts.sum()), float(rows.sum())
    chi_square = 0.0
    if 0 < total < n:
        rate = total / n
        chi_square = float(((counts - rows * rate) ** 2 / (rows * rate * (1.0 - rate))).sum())
    return RateLaw(max(total, n * least), n, len(counts), chi_square)


def fit_rates(
    features: Sequence[Coding], counts: NDArray[np.int64], rows: FloatArray
) -> list[tuple[RateLaw, RateLaw]]:
    """Fit the laws of the missing and of the unseen values of each feature; see `fit_rate`.

    Parameters
    ----------
    counts : int64 array, shape (windows, features, 2)
    """
    return [
        (fit_rate(counts[:, j, 0], rows), fit_rate(counts[:, j, 1], rows, least=coding.once))
        for j, coding in enumerate(features)
    ]


def _average(tails: FloatArray, weights: FloatArray) -> float:
    """Average tails, shape (dispersions, nodes), over the rate and the dispersion."""
    return float(weights @ (tails @ _NODE_WEIGHTS))
