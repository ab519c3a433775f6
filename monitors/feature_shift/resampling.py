"""Gives any statistic of two sets of rows its law when nothing has changed.

Blocks of the rows of both tables are dealt anew to the two sides, as if there were no difference
between them, and the statistic is computed again: a permutation test. The draws give each feature's
mean and spread, and every statistic is studentised by its own. (The strength of a feature that has
moved is in its spread as well, for the draws mix both tables; its tail would weigh twice.) All
features then share one Gamma tail, so that p-values go on where the draws end, −log₁₀ p is one
scale for every method, and the features are in the order of their studentised statistics. The
threshold is the quantile of the largest of them, one per draw. (The paper's, Bonferroni on the
order statistics of some hundred draws, cannot resolve a level of 5 % shared by 25 features.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift.null import LEAST_SPREAD, Null

_AT_ONCE = 16  # draws: few enough for the cache, enough to pay a call
#: from which blocks are the window's, shape (draws, R), to values, shape (draws, features)
Statistic: TypeAlias = Callable[[NDArray[np.bool_]], FloatArray]


@dataclass(frozen=True, slots=True)
class Resampled:
    """A statistic of the blocks as they are, and what it is when they are dealt anew."""

    observed: FloatArray  #: shape (features,)
    mean: FloatArray  #: shape (features,), over the draws
    studentised: FloatArray  #: shape (features,): the observed on the scale of `null`
    null: Null  #: one Gamma law for every feature


def resample(
    statistic: Statistic, in_window: NDArray[np.bool_], rng: np.random.Generator, draws: int
) -> Resampled:
    """Deal the blocks anew so many times.

    Parameters
    ----------
    statistic : not negative; the larger, the less alike the two sets are.
    in_window : bool array, shape (R,)
        Which blocks are the window's.
    """
    dealt = rng.permuted(np.tile(in_window, (draws, 1)), axis=1)
    parts = np.split(dealt, range(_AT_ONCE, draws, _AT_ONCE))
    values = np.concatenate([statistic(part) for part in parts])
    observed = statistic(in_window[None])[0]
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    alive = deviation > 1e-12 * np.maximum(mean, 1e-300)
    deviation = np.where(alive, deviation, 1.0)
    shape = float(np.median((mean[alive] / deviation[alive]) ** 2)) if alive.any() else 1.0

    def studentise(value: FloatArray) -> FloatArray:
        scaled: FloatArray = shape + np.sqrt(shape) * (value - mean) / deviation
        return np.maximum(scaled, 0.0)

    law = Null(
        rows=float(np.count_nonzero(in_window)),
        shape=np.where(alive, shape, np.nan),
        scale=np.ones(len(mean)),
        largest=np.empty(0),
        tail=(0.0, LEAST_SPREAD),
    )
    largest = np.sort(law.evidence(studentise(values)).max(axis=1, initial=0.0))
    return Resampled(observed, mean, studentise(observed), replace(law, largest=largest))
