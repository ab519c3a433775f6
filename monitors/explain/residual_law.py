"""How far a sound sensor reads from what is expected of it: a Student law, fitted to the reference.

Weather, traffic and money have heavy tails, so that a Gaussian law would take one odd row for a
fault. Residuals are scaled by the row's own spread, and their log-probabilities are those of a cell
as wide as the sensor's resolution, so that an exact repetition can be weighed against a density.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtr

from monitors.encoder import FloatArray
from monitors.explain.conditional import Conditional

_DEGREES = (1.2, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0)
_STEPS = 8  # of the fixed point of a scale
_MOST = (0.005, 0.995)  # quantiles at which residuals are cut for their spread
_LEAST_RELATIVE = 1e-9  # of the values: rounding
_LEAST_SCALE = 0.1  # of the sensor's resolution
_TINY, _HUGE = 1e-9, 1e100  # of a spread, in the unit
MOST_DEPENDENCE = 20.0  # rows that are worth one


@dataclass(frozen=True, slots=True)
class ResidualLaw:
    """The law of (observed − expected) / spread, and how long it remembers."""

    degrees: float  #: of freedom
    factor: float  #: scale of the law, in spreads of a row
    floor: float  #: least scale, in the unit
    resolution: float  #: usual distance between neighbouring values, in the unit
    spread: float  #: standard deviation, in the unit; see `spread_of`
    dependence: float  #: rows that are worth one independent row
    step: float | None = None  #: µs from a row of the window to the next

    @property
    def ordinary(self) -> bool:
        """Whether floors, squares and sums of the residuals mean something."""
        return _TINY < self.spread < _HUGE

    def scale(self, spread: FloatArray) -> FloatArray:
        """Return the scale of each row's residual, in the unit."""
        return np.maximum(self.factor * spread, self.floor)

    def log_density(self, residual: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the log density of residuals, per unit."""
        return log_student(residual / scale, self.degrees) - np.log(scale)

    def log_tail(self, beyond: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the log probability of a residual above each value."""
        tail: FloatArray = np.log(np.maximum(stdtr(self.degrees, -beyond / scale), 1e-300))
        return tail


def log_student(z: FloatArray, degrees: float) -> FloatArray:
    """Return the log density of Student's t."""
    level = gammaln((degrees + 1) / 2) - gammaln(degrees / 2) - 0.5 * np.log(degrees * np.pi)
    density: FloatArray = level - (degrees + 1) / 2 * np.log1p(z**2 / degrees)
    return density


def student_scale(residual: FloatArray, degrees: float) -> float:
    """Return the maximum-likelihood scale of a Student law about 0 (EM, Lange et al. 1989, §3)."""
    square = residual**2
    scale = max(float(np.median(square)), 1e-300)
    for _ in range(_STEPS):
        scale = max(float(np.mean((degrees + 1) * square / (degrees + square / scale))), 1e-300)
    return float(np.sqrt(scale))


def fit_law(before: Conditional) -> ResidualLaw:
    """Fit the law to rows of the reference; at least one of them has a value."""
    there = np.isfinite(before.observed)
    observed = before.observed[there]
    cell = resolution(observed)
    floor = max(_LEAST_SCALE * cell, _LEAST_RELATIVE * float(np.abs(observed).max()), 1e-12)
    residual = observed - before.expected[there]
    scaled = residual / np.maximum(before.spread[there], floor)
    fits = [(student_scale(scaled, degrees), degrees) for degrees in _DEGREES]
    likelihood = [float(np.mean(log_student(scaled / s, d))) - np.log(s) for s, d in fits]
    factor, degrees = fits[int(np.argmax(likelihood))]
    follows = np.ones(max(len(observed) - 1, 0), dtype=np.bool_)
    if before.times is not None:
        gap = np.diff(before.times[there])
        follows = (gap > 0) & (gap == np.median(gap)) if len(gap) else follows
    return ResidualLaw(
        degrees,
        max(factor, 1e-6),
        floor,
        cell,
        max(spread_of(residual), 1e-12),
        _dependence(np.clip(scaled / factor, -3, 3), follows),
    )


def spread_of(residual: FloatArray) -> float:
    """Return the standard deviation of residuals, those of the farthest hundredth cut."""
    return float(np.std(np.clip(residual, *np.quantile(residual, _MOST))))


def resolution(values: FloatArray) -> float:
    """Return the usual distance between neighbouring values: one step of the sensor."""
    gaps = np.diff(np.unique(values))
    return float(np.median(gaps)) if len(gaps) else 0.0


def _dependence(residual: FloatArray, follows: NDArray[np.bool_]) -> float:
    """Return the autocorrelation time of an AR(1) series with the residuals' correlation."""
    rho = correlation(residual[:-1][follows], residual[1:][follows])
    return float(np.clip((1 + rho) / (1 - min(rho, 0.99)), 1.0, MOST_DEPENDENCE))


def correlation(first: FloatArray, second: FloatArray) -> float:
    """Return Pearson's correlation; 0 where one of them does not vary."""
    if len(first) < 3:
        return 0.0
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def student_regression(
    target: FloatArray, design: FloatArray, scale: FloatArray, degrees: float
) -> tuple[list[float], float]:
    """Return coefficients and the stretch of the scale of greatest Student likelihood.

    By the EM iteration of Lange, Little and Taylor (1989, §3).
    """
    n, terms = design.shape
    ridge = 1e-9 * np.eye(terms)
    precise = scale**-2.0
    weight = np.ones(n)
    square = 1.0
    coefficients = np.zeros(terms)
    for _ in range(_STEPS):
        weighted = design * (weight * precise)[:, None]
        inner = weighted.T @ design
        coefficients = np.linalg.solve(inner + ridge * np.trace(inner), weighted.T @ target)
        z = (target - design @ coefficients) ** 2 * precise
        square = max(float(weight @ z) / n, 1e-300)
        weight = (degrees + 1) / (degrees + z / square)
    return coefficients.tolist(), float(np.sqrt(square))


def usual_step(times: NDArray[np.int64] | None) -> float | None:
    """Return the usual distance of neighbouring times; None where most rows share theirs."""
    if times is None or len(times) < 2:
        return None
    step = float(np.median(np.diff(times)))
    return step if step > 0 else None
