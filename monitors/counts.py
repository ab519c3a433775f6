"""Tests of rare events by their exact counts: missing values, and values the reference never had.

A rare indicator has no Gaussian limit in a window of a few hundred rows, so it is not a basis
column. With K of N in the reference, the count in a window of n rows is beta-binomial: Jeffreys'
posterior for the rate, widened by the intra-window correlation ρ that the reference's own windows
show (outages come in bursts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, logsumexp

from monitors.encoder import FloatArray

_MOST_TERMS = 100_000
_LOG10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class RateLaw:
    """The predictive law of an event's count in a window."""

    rate: float
    strength: float  #: a + b of the beta distribution of a window's rate

    def evidence(self, count: int, rows: int, *, two_sided: bool) -> float:
        """Return −log₁₀ of the p-value of `count` events in `rows` rows."""
        if rows == 0:
            return 0.0
        if rows > _MOST_TERMS:  # then it is nearly its beta law: coarser changes nothing
            count, rows = round(count * _MOST_TERMS / rows), _MOST_TERMS
        a, b = self.rate * self.strength, (1.0 - self.rate) * self.strength
        upper = _log_tail(np.arange(count, rows + 1), rows, a, b) if count else 0.0
        if not two_sided:
            return max(0.0, -upper / _LOG10)
        lower = _log_tail(np.arange(count + 1), rows, a, b)
        return max(0.0, -(min(upper, lower) + math.log(2.0)) / _LOG10)


def fit_rate(counts: NDArray[np.int64], rows: FloatArray) -> RateLaw:
    """Fit the law from the counts of the reference's own windows (or blocks).

    Parameters
    ----------
    counts : int64 array, shape (windows,)
    rows : FloatArray, shape (windows,)
    """
    total, n = float(counts.sum()), float(rows.sum())
    rate = (total + 0.5) / (n + 1.0)
    correlation = 0.0
    if len(counts) > 1 and 0 < total < n:
        raw = total / n
        typical = n / len(rows)
        spread = float(((counts - rows * raw) ** 2).sum() / (len(counts) - 1))
        design = spread / (typical * raw * (1.0 - raw))
        correlation = max(0.0, (design - 1.0) / max(typical - 1.0, 1.0))
    known = correlation / len(counts) + 1.0 / (n + 1.0)
    return RateLaw(rate, max(1.0 / (correlation + known) - 1.0, 1e-6))


def _log_tail(counts: NDArray[np.int64], rows: int, a: float, b: float) -> float:
    choose = gammaln(rows + 1.0) - gammaln(counts + 1.0) - gammaln(rows - counts + 1.0)
    terms = choose + betaln(counts + a, rows - counts + b) - betaln(a, b)
    return min(0.0, float(logsumexp(terms)))
