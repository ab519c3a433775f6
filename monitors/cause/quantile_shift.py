"""The shift function of Doksum: how far each quantile of a feature moved, with a band.

The shift at level u is Q_after(u) − Q_before(u) (Doksum 1974, Ann. Statist. 2(2), 267–277). A
constant shift is an offset, a shift that grows with u is a scale or noise, one of the ends alone is
clipping.

The band is pointwise. The limits of each quantile are those of Woodruff (1952, JASA 47, 635–646):
the quantiles at the limits of the binomial share, here Clopper and Pearson's with the effective
number of rows in the place of the number (Korn and Graubard 1998, Survey Methodology 24, 193–201),
for rows of a stream depend on each other. Limits of the difference follow from those of both sides
(Zou and Donner 2008, Statist. Med. 27, 1693–1702, eq. 7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from monitors.autocorrelation import autocorrelation_time
from monitors.encoder import FloatArray

LEVELS = np.arange(1, 20) / 20.0  # 5 %, 10 %, …, 95 %
CONFIDENCE = 0.95  # pointwise
LEAST_ROWS = 20  # of either side: with fewer, not even the outer levels lie inside the rows


@dataclass(frozen=True, slots=True, eq=False)
class QuantileShift:
    """How far the quantiles moved; all arrays of shape (levels,), values in the feature's unit."""

    levels: FloatArray
    before: FloatArray
    after: FloatArray
    low: FloatArray  #: limits of after − before, at each level with probability `CONFIDENCE`
    high: FloatArray
    effective_rows: float  #: of the window: rows that are worth as much independent ones

    @property
    def shift(self) -> FloatArray:
        """The shift function."""
        return self.after - self.before


def quantile_shift(before: FloatArray, after: FloatArray) -> QuantileShift | None:
    """Compare the quantiles of two samples.

    Parameters
    ----------
    before, after : FloatArray, shapes (n,) and (m,), without NaN, in order of time.

    Returns
    -------
    the shift function at `LEVELS`; None where one side has fewer than `LEAST_ROWS` values.
    """
    if min(len(before), len(after)) < LEAST_ROWS:
        return None
    usual, now = autocorrelation_time(before), autocorrelation_time(after)
    # Values whose order was lost look independent, and are no less one stretch of a slow series.
    rows = len(after) / max(usual, now)
    q, q_low, q_high = _limits(before, len(before) / usual)
    r, r_low, r_high = _limits(after, rows)
    shift = r - q
    return QuantileShift(
        levels=LEVELS,
        before=q,
        after=r,
        low=shift - np.hypot(r - r_low, q_high - q),
        high=shift + np.hypot(r_high - r, q - q_low),
        effective_rows=rows,
    )


def _limits(values: FloatArray, rows: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the quantiles of a sample and their limits, for so many effective rows."""
    tail = (1.0 - CONFIDENCE) / 2.0
    below, above = rows * LEVELS, rows * (1.0 - LEVELS)
    low = betaincinv(below, above + 1.0, tail)
    high = betaincinv(below + 1.0, above, 1.0 - tail)
    # Hyndman and Fan's eighth definition: median-unbiased whatever the law.
    found = np.quantile(values, np.stack([LEVELS, low, high]), method="median_unbiased")
    return found[0], found[1], found[2]
