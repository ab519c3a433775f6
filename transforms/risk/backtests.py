"""Backtests of value at risk and expected shortfall, and of whole forecast laws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exceedances:
    """How often outcomes fell below a forecast quantile, and whether that is by chance.

    Likelihood ratios and their p-values: χ² with one degree of freedom, and two for the last.
    """

    rows: int
    below: int
    level: float
    unconditional: float  #: Kupiec's: are they as many as the level says?
    unconditional_p: float
    independence: float  #: Christoffersen's: does one make the next more likely?
    independence_p: float
    conditional: float  #: the sum of both
    conditional_p: float

    @property
    def share(self) -> float:
        """The share of the rows."""
        return self.below / self.rows


def exceedance_test(below: ArrayLike, level: float) -> Exceedances:
    """Test a value at risk by the rows on which outcomes fell below it.

    LR_uc = −2 ln[p^x (1 − p)^(n−x) / ((x/n)^x (1 − x/n)^(n−x))] (Kupiec, Journal of Derivatives
    1995). LR_ind compares one chance of an exceedance with two, after a row with and without one
    (Christoffersen, International Economic Review 1998). In logarithms: powers of p underflow for
    some thousands of rows. χ² is the law for many rows: with x of 5 or fewer the tests are rough.

    Parameters
    ----------
    below : bool array, shape (n,), in order of time
        Whether the outcome was less than the forecast quantile; leave out rows without an outcome.
    level : p in (0, 1)

    Raises
    ------
    ValueError
        When there is no row.
    """
    hits = np.asarray(below, np.bool_)
    if not len(hits):
        raise ValueError("no rows: exceedances cannot be tested")
    n, x = len(hits), int(hits.sum())
    unconditional = 2 * (_log_likelihood(x, n, x / n) - _log_likelihood(x, n, level))
    before, after = hits[:-1], hits[1:]
    independence = -2 * _best(after)
    for state in (False, True):
        independence += 2 * _best(after[before == state])
    # rounding may leave a little less than the 0 that a perfect fit has
    unconditional, independence = max(unconditional, 0.0), max(independence, 0.0)
    return Exceedances(
        rows=n,
        below=x,
        level=level,
        unconditional=unconditional,
        unconditional_p=float(special.chdtrc(1, unconditional)),
        independence=independence,
        independence_p=float(special.chdtrc(1, independence)),
        conditional=unconditional + independence,
        conditional_p=float(special.chdtrc(2, unconditional + independence)),
    )


def joint_tail_score(
    outcome: ArrayLike, quantile: ArrayLike, shortfall: ArrayLike, level: float
) -> Floats:
    """Return the score of value at risk and expected shortfall together; lower is better.

    With v = q_p and e = ES_p < 0,

        S = 1{y ≤ v} (v − y)/(−p e) + v/e + ln(−e) − 1,

    which no other pair can better in expectation than the true one (Fissler and Ziegel, Annals of
    Statistics 2016; this member: Patton, Ziegel and Chen, Journal of Econometrics 2019, eq. 6).
    Taylor's asymmetric Laplace score (JBES 2019) is S − y/e and a constant: the same where returns
    have mean 0. Expected shortfall has no score of its own.

    Parameters
    ----------
    outcome, quantile, shortfall : arrays, shape (n,)
        In one unit; the shortfall is at most the quantile.
    level : p in (0, 1)

    Returns
    -------
    float64 array, shape (n,)
        Differences do not depend on the unit. NaN where the shortfall is not negative.
    """
    y, v, e = (np.asarray(part, np.float64) for part in (outcome, quantile, shortfall))
    with np.errstate(invalid="ignore", divide="ignore"):
        score: Floats = np.maximum(v - y, 0.0) / (-level * e) + v / e + np.log(-e) - 1
    return np.where(e < 0, score, np.nan)


def pit_uniformity(pit: ArrayLike) -> tuple[float, float]:
    """Test by Kolmogorov and Smirnov whether PIT values are uniform; return D and its p-value.

    For independent rows: the PIT of calibrated one-step forecasts is so, that of overlapping ones
    is not, and then `transforms.calibration_tests.level_test` is the test to take. The p-value is
    the limit's for many rows (35 or more, within a hundredth).

    Parameters
    ----------
    pit : shape (n,), in [0, 1]; NaN is left out
    """
    values = np.sort(np.asarray(pit, np.float64))
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return 0.0, 1.0
    steps = np.arange(n + 1) / n
    distance = float(max(np.max(steps[1:] - values), np.max(values - steps[:-1])))
    return distance, float(special.kolmogorov(np.sqrt(n) * distance))


def _best(hits: NDArray[np.bool_]) -> float:
    """Log-likelihood of exceedances under their own share."""
    n, x = len(hits), int(hits.sum())
    return _log_likelihood(x, n, x / n) if n else 0.0


def _log_likelihood(x: int, n: int, p: float) -> float:
    return float(special.xlogy(x, p) + special.xlog1py(n - x, -p))
