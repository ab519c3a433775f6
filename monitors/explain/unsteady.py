"""A sensor whose residuals are no sound sensor's: noise, a changed dependence, or none at all."""

from __future__ import annotations

import numpy as np

from monitors.encoder import FloatArray
from monitors.explain.residual_law import ResidualLaw, correlation, spread_of, student_regression
from monitors.explain.series import SLOPE, WIDE, Explanation, Series, wide_mass

_SURE, _LEFT = 3.0, 0.2  # standard errors of a correlation, and its size, before some is left
_SLOPES = (-0.9, -0.6, -0.3, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_LESS = 0.9  # a slope above it is no weaker dependence
_CENTRED = 0.7  # median over median distance from 0: residuals on both sides
_NOISE = 1.2  # times wider or narrower before it is worth a word
_WHITE = 0.5  # correlation of a residual with the next: noise has none


def unsteady(rows: Series, law: ResidualLaw, at: float) -> Explanation:
    """Return noise, a changed dependence or none at all: whichever fits best.

    Noise leaves the slope and widens the marginal; a changed dependence lowers the slope and leaves
    the marginal, which a gain below 1 would narrow. Whether any dependence is left is judged by as
    many rows as two series with such memories are worth (Bartlett 1935).
    """
    x = rows.expected - rows.expected.mean()
    y = rows.observed - np.median(rows.observed)
    plain = rows.observed - rows.expected
    factor = spread_of(plain) / law.spread
    found = [Explanation("replay", wide_mass(y, law, rows), at)]
    if rows.usual is not None:
        found.append(Explanation("replay", rows.usual, 0))
    left = correlation(x, y)
    if left**2 * len(rows) * _independent(x, y) >= _SURE**2 and abs(left) >= _LEFT:
        (level, slope), _ = student_regression(
            y, np.column_stack([np.ones(len(rows)), x]), np.full(len(rows), law.spread), WIDE
        )
        found = []
        if slope < _LESS and spread_of(y) * SLOPE >= np.hypot(spread_of(x), law.spread):
            mass = wide_mass(y - level - slope * x, law, rows)
            found.append(Explanation("dependence", mass, 1.5 * at, slope))
        found += [
            Explanation("dependence", _same_marginal(x, slope, law, rows), at / 2, slope)
            for slope in _SLOPES
        ]
    centred = abs(np.median(plain)) < _CENTRED * np.median(np.abs(plain))
    louder = max(factor, 1 / max(factor, 1e-9)) >= _NOISE
    if centred and louder and correlation(plain[:-1], plain[1:]) < _WHITE:
        found.append(Explanation("noise", wide_mass(plain, law, rows), at / 2, factor))
    return max(found, key=lambda each: _evidence(each, law))


def _same_marginal(x: FloatArray, slope: float, law: ResidualLaw, rows: Series) -> FloatArray:
    """Return the log probabilities under a lower slope with the marginal that there should be."""
    variance = float(np.mean(x**2))
    spread = float(np.sqrt((1 - slope**2) * variance + law.spread**2))
    return wide_mass(rows.observed - rows.expected.mean() - slope * x, law, rows, spread)


def _evidence(explanation: Explanation, law: ResidualLaw) -> float:
    return float(explanation.log_mass.sum()) / law.dependence - explanation.cost


def _independent(x: FloatArray, y: FloatArray) -> float:
    """Return the share of the rows that count for the correlation of two series."""
    both = correlation(x[:-1], x[1:]) * correlation(y[:-1], y[1:])
    return float(np.clip((1 - both) / (1 + both), 0.01, 1.0))
