"""Gives any statistic of two sets of rows its law when nothing has changed.

Blocks of the rows of both tables are dealt anew to the two sides, as if there were no difference
between them, and the statistic is computed again: a permutation test. The draws give each feature's
mean and spread; with these moments a feature's statistic is taken as Gamma, which gives p-values
beyond the number of draws and puts every method on one scale, −log₁₀ p. The threshold is the
quantile of the largest evidence over all features, one per draw: that of the studentised maximum,
corrected for each feature's skewness. (The paper's, Bonferroni on the order statistics of some
hundred draws, cannot resolve a level of 5 % shared by 25 features.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift.null import LEAST_SPREAD, Null

_AT_ONCE = 16  # draws: few enough for the cache, enough to pay a call
#: from which blocks are the window's, shape (draws, R), to values, shape (draws, features)
Statistic: TypeAlias = Callable[[NDArray[np.bool_]], FloatArray]


def resample(
    statistic: Statistic, in_window: NDArray[np.bool_], rng: np.random.Generator, draws: int
) -> tuple[FloatArray, Null]:
    """Return a statistic of the blocks as they are, and its law when they are dealt anew.

    Parameters
    ----------
    statistic : not negative; the larger, the less alike the two sets are.
    in_window : bool array, shape (R,)
        Which blocks are the window's.
    """
    dealt = rng.permuted(np.tile(in_window, (draws, 1)), axis=1)
    parts = np.split(dealt, range(_AT_ONCE, draws, _AT_ONCE))
    values = np.concatenate([statistic(part) for part in parts])
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    alive = deviation > 1e-12 * np.maximum(mean, 1e-300)
    safe_mean, safe_deviation = np.where(alive, mean, 1.0), np.where(alive, deviation, 1.0)
    law = Null(
        rows=float(np.count_nonzero(in_window)),
        shape=np.where(alive, (safe_mean / safe_deviation) ** 2, np.nan),
        scale=safe_deviation**2 / safe_mean,
        largest=np.empty(0),
        tail=(0.0, LEAST_SPREAD),
    )
    largest = np.sort(law.evidence(values).max(axis=1, initial=0.0))
    return statistic(in_window[None])[0], replace(law, largest=largest)
