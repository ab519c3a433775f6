"""Tests of events by their exact counts: missing values, values the reference never had, misses.

A rare indicator has no Gaussian limit in a window of a few hundred rows, so it is not a basis
column. With K of N in the reference, the count in a window of n rows is beta-binomial: binomial
given the rate, the rate with Jeffreys' posterior Beta(K + ½, N − K + ½). Outages come in bursts: a
variance D times the binomial one makes every count worth 1/D of itself. D is not known but for
the Pearson X² of the reference's own C windows about their common rate: given X², D is
scaled-inverse-χ² with C − 1 degrees of freedom, and the tail is averaged over it. Where
X² <= C − 1 there is no sign of bursts: D = 1. A window that is g times longer than those C may hold
bursts that they cut: it has 1 + (D − 1) g, as if none of them averaged out. Likewise, the pieces
that windows are cut into have at least 1 + (D − 1) / m, m to a window; they are more, and say so.

The reference's own rows cannot tell how often a value is new to it. The share of its values seen
once does (Good 1953, Biometrika 40:237, eq. 9): columns with a long tail of rare values bring some
new ones in every window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, ndtr

from monitors.encoder import Coding, FloatArray

JEFFREYS = (0.5, 0.5)
_LEAST = 1e-300  # evidence beyond 300 orders of magnitude says no more
_LEAST_B = 0.5  # of the Beta law, where bursts leave less than one row
_NODES = np.linspace(-8.0, 8.0, 49)  # of the rate, as normal scores: far enough for p of 1e-15
_NODE_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
_DISPERSIONS = 24
_LONGER = 1.5  # times the rows of the reference's windows: what they do not show may then count


@dataclass(frozen=True, slots=True)
class RateLaw:
    """The predictive law of an event's count in a window."""

    events: float
    rows: float
    windows: int
    chi_square: float  #: Pearson's, of the windows' counts about their common rate
    prior: tuple[float, float] = JEFFREYS  #: parameters of the Beta law of the rate before any row
    pieces: int = 0  #: of the windows, if they are cut into any
    piece_chi_square: float = 0.0  #: Pearson's, of the pieces' counts

    def evidence(
        self, count: int, rows: int, *, two_sided: bool, times_longer: float = 1.0
    ) -> float:
        """Return −log₁₀ of the p-value of `count` events in `rows` rows.

        `times_longer` than the reference's windows are these rows, where bursts may be cut by them.
        """
        if rows == 0 or count == self.events == 0:
            return 0.0
        dispersion, weights = self._dispersion(max(1.0, times_longer))
        n, k = rows / dispersion, count / dispersion
        a = self.events / dispersion + self.prior[0]
        b = np.maximum((self.rows - self.events) / dispersion + self.prior[1], _LEAST_B)
        rate = betaincinv(a, b, ndtr(_NODES))
        upper = _average(betainc(k, n - k + 1.0, rate), weights) if count else 1.0
        if not two_sided:
            return -math.log10(max(upper, _LEAST))
        lower = _average(betainc(n - k, k + 1.0, 1.0 - rate), weights) if count < rows else 1.0
        return max(0.0, -math.log10(max(2.0 * min(upper, lower), _LEAST)))

    def interval(self, count: int, rows: int) -> tuple[float, float]:
        """Return the 95 % interval of a rate of which there are `count` in `rows` rows.

        Clopper and Pearson's (1934, Biometrika 26:404), which never covers less, whatever the
        counts; where events come in bursts, of as many times fewer rows.
        """
        burst = max(1.0, self.chi_square / max(self.windows - 1, 1))
        return exact_interval(count / burst, rows / burst)

    def _dispersion(self, times_longer: float) -> tuple[FloatArray, FloatArray]:
        """Return values of D, shape (values, 1), and their weights."""
        degrees, longer = self.windows - 1, times_longer > _LONGER
        if degrees < 1 or (self.chi_square <= degrees and not longer):
            return np.ones((1, 1)), np.ones(1)
        values = np.geomspace(1.0, max(2.0, 20.0 * self.chi_square / degrees), _DISPERSIONS)
        log_weight = _log_likelihood(values, degrees, self.chi_square)
        if self.pieces > self.windows:
            # bursts as long as a window grow the most from a piece to it
            within = 1.0 + (values - 1.0) * self.windows / self.pieces
            log_weight += _log_likelihood(within, self.pieces - 1, self.piece_chi_square)
        weights = np.exp(log_weight - log_weight.max())  # per unit of log D
        if not longer:
            weights[0] *= 1 + len(values)  # half of the prior: there are no bursts
        return 1.0 + (values[:, None] - 1.0) * times_longer, weights / weights.sum()


def exact_interval(count: float, rows: float, coverage: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a rate; all rates when there is no row."""
    tail = (1.0 - coverage) / 2
    low = betaincinv(count, rows - count + 1.0, tail) if count > 0 else 0.0
    high = betaincinv(count + 1.0, rows - count, 1.0 - tail) if count < rows else 1.0
    return float(low), float(high)


def fit_rate(counts: NDArray[np.int64], rows: FloatArray, *, least: float = 0.0) -> RateLaw:
    """Fit the law from the counts of the reference's own windows (or blocks).

    Parameters
    ----------
    counts : int64 array, shape (windows,)
    rows : FloatArray, shape (windows,)
    least : the least rate.
    """
    total, n = float(counts.sum()), float(rows.sum())
    return RateLaw(max(total, n * least), n, len(counts), _chi_square(counts, rows))


def with_pieces(law: RateLaw, counts: NDArray[np.int64], rows: FloatArray) -> RateLaw:
    """Return a law that also knows the counts of the pieces of its windows.

    They are more, and say more surely that there are no bursts, or only short ones.
    """
    return replace(law, pieces=len(counts), piece_chi_square=_chi_square(counts, rows))


def _chi_square(counts: NDArray[np.int64], rows: FloatArray) -> float:
    """Return Pearson's X² of counts about their common rate."""
    rate = float(counts.sum()) / max(float(rows.sum()), 1.0)
    if not 0.0 < rate < 1.0:
        return 0.0
    return float(((counts - rows * rate) ** 2 / (rows * rate * (1.0 - rate))).sum())


def _log_likelihood(dispersion: FloatArray, degrees: int, chi_square: float) -> FloatArray:
    """Return the log-likelihood of values of D, X² being D times a χ²."""
    log: FloatArray = -degrees / 2 * np.log(dispersion) - chi_square / (2 * dispersion)
    return log


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
