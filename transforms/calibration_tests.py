"""Are outcomes spread over their forecast quantiles as the levels say? With, or without, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from transforms.scores import aligned

Floats = NDArray[np.float64]

#: What the orthogonal components of the test say, in order, when they are large.
COMPONENTS = ("location", "dispersion", "skewness", "tails")
_MOST_TIED = 0.01  # of outcomes
_FREQUENCIES = 0.4  # times n^(2/3): how many cosines the long-run variance takes


@dataclass(frozen=True, slots=True)
class CalibrationTest:
    """Whether the levels of quantile forecasts hold on average; no p-value: it was not tested."""

    rows: int
    statistic: float | None = None  #: χ² when rows are taken as independent, else F
    p_value: float | None = None
    #: mean of each orthonormal component, 0 when calibrated. Positive: location: outcomes are
    #: higher than forecast; dispersion: intervals are too narrow
    components: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""  #: why it was not tested


def level_test(
    outcome: ArrayLike,
    quantiles: ArrayLike,
    levels: Sequence[float] | Floats,
    *,
    serial: bool = True,
) -> CalibrationTest:
    """Test the PIT of quantile forecasts for uniformity, as far as quantiles say what it is.

    k levels cut the PIT into k + 1 cells; which cell an outcome falls in is all that quantiles
    speak of, so no shape between them is assumed. The components are the orthonormal polynomials
    of degree 1 to 4 on the cells, under the probabilities that the levels give them (Rayner and
    Best, *Smooth Tests of Goodness of Fit*, 1989): each has mean 0 and variance 1 when calibrated.

    With `serial=False`, n Σ_r b̄_r² is χ² on as many degrees as components. With `serial=True` rows
    are taken in order of time: the components' long-run covariance is that of the equally weighted
    cosine estimator with B = .4 n^(2/3) terms, and (B − m + 1)/(B m) n b̄ᵀΩ̂⁻¹b̄ is F with m and
    B − m + 1 degrees (Lazarus, Lewis, Stock and Watson, JBES 2018); moments of the PIT tested under
    serial dependence are Knüppel's (JBES 2015).

    Parameters
    ----------
    outcome : array, shape (n,)
        NaN where there is none: such rows are left out.
    quantiles : array, shape (n, k), non-decreasing along k
    levels : sequence of k increasing floats in (0, 1)

    Returns
    -------
    CalibrationTest
        Not tested: few rows, or more than 1 % of outcomes on a point mass (where quantiles tie),
        of which quantiles do not say how far F jumps; fewer are shared by the cells of the jump.
    """
    y, q, tau = aligned(outcome, quantiles, levels)
    known = ~(np.isnan(y) | np.isnan(q).any(axis=1))
    y, q = y[known], q[known]
    n, basis = len(y), _components(tau)
    m = basis.shape[1]
    frequencies = int(_FREQUENCIES * n ** (2 / 3))
    if frequencies < 2 * m:
        return CalibrationTest(n, reason=f"{n} rows are too few")
    first, upto = (q < y[:, None]).sum(axis=1), (q <= y[:, None]).sum(axis=1)
    if (tied := float(np.mean(upto - first > 1))) > _MOST_TIED:
        return CalibrationTest(n, reason=f"{tied:.0%} of outcomes are on a point mass")
    last = np.maximum(first, upto - 1)  # an outcome equal to a quantile is in the cell below it
    mass = np.diff(np.concatenate([[0.0], tau, [1.0]]))
    summed = np.vstack([np.zeros(m), np.cumsum(mass[:, None] * basis, axis=0)])
    total = np.concatenate([[0.0], np.cumsum(mass)])
    values = (summed[last + 1] - summed[first]) / (total[last + 1] - total[first])[:, None]
    mean = values.mean(axis=0)
    if serial:
        inverse = np.linalg.pinv(long_run_covariance(values), hermitian=True)
        statistic = float(n * mean @ inverse @ mean * (frequencies - m + 1) / (frequencies * m))
        p_value = float(special.fdtrc(m, frequencies - m + 1, statistic))
    else:
        statistic = float(n * mean @ mean)
        p_value = float(special.chdtrc(m, statistic))
    named = dict(zip(COMPONENTS, mean.tolist(), strict=False))
    return CalibrationTest(n, statistic, p_value, named)


def long_run_covariance(values: ArrayLike) -> Floats:
    """Long-run covariance: n times that of the mean of n serially dependent rows.

    The equally weighted cosine estimator: the mean of Λ_j Λ_jᵀ over j = 1 … B = .4 n^(2/3), with
    Λ_j = √(2/n) Σ_t z_t cos(π j (t − ½)/n) (Müller, Econometrica 2004; Lazarus et al., JBES 2018).

    Parameters
    ----------
    values : array, shape (n, m), in order of time

    Returns
    -------
    float64 array, shape (m, m)
        That of white noise is its covariance.
    """
    z = np.asarray(values, np.float64)
    n = len(z)
    frequencies = max(1, int(_FREQUENCIES * n ** (2 / 3)))
    angle = np.pi * (np.arange(n) + 0.5) / n
    terms = np.cos(angle[None, :] * np.arange(1, frequencies + 1)[:, None]) @ z * np.sqrt(2 / n)
    covariance: Floats = terms.T @ terms / frequencies
    return covariance


def _components(tau: Floats) -> Floats:
    """Orthonormal polynomials on the cells between levels, shape (cells, components).

    Degree 1 grows along the cells; degree 2 is high in both outer cells, and so on.
    """
    mass = np.diff(np.concatenate([[0.0], tau, [1.0]]))
    place = np.cumsum(mass) - mass / 2
    degree = min(len(COMPONENTS), len(mass) - 1)
    powers = np.vander(place - 0.5, degree + 1, increasing=True)
    q, r = np.linalg.qr(powers * np.sqrt(mass)[:, None])
    basis: Floats = (q * np.sign(np.diag(r)) / np.sqrt(mass)[:, None])[:, 1:]
    return basis
