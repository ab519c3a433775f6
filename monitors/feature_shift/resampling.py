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

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.feature_shift.rows import Statistic
from monitors.null import LEAST_SPREAD, Null, leave_one_out

_AT_ONCE = 16  # draws: few enough for the cache, enough to pay a call
_NORMAL = 1e4  # a Gamma law of so large a shape is the normal one


@dataclass(frozen=True, slots=True)
class Resampled:
    """A statistic of the blocks as they are, and what it is when they are dealt anew."""

    observed: FloatArray  #: shape (features,)
    mean: FloatArray  #: shape (features,), over the draws
    studentised: FloatArray  #: shape (features,): the observed on the scale of `null`
    null: Null  #: one Gamma law for every feature


def resample(
    statistic: Statistic,
    in_window: NDArray[np.bool_],
    rng: np.random.Generator,
    draws: int,
    *,
    normal: bool = False,
) -> Resampled:
    """Deal the blocks anew so many times.

    Parameters
    ----------
    statistic : the larger, the less alike the two sets are; not negative, unless `normal`.
    in_window : bool array, shape (R,)
        Which blocks are the window's.
    normal : whether the draws of a feature are normal, as those of a difference of means; else
        they are Gamma.
    """
    dealt = rng.permuted(np.tile(in_window, (draws, 1)), axis=1)
    parts = np.split(dealt, range(_AT_ONCE, draws, _AT_ONCE))
    values = np.concatenate([statistic(part) for part in parts])
    observed = statistic(in_window[None])[0]
    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    alive = deviation > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    deviation = np.where(alive, deviation, 1.0)
    shape = 1.0
    if normal:
        shape = _NORMAL
    elif alive.any():
        shape = float(np.median((mean[alive] / deviation[alive]) ** 2))

    def studentise(value: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
        scaled: FloatArray = shape + np.sqrt(shape) * (value - mean) / deviation
        return np.maximum(scaled, 0.0)

    law = Null(
        rows=float(np.count_nonzero(in_window)),
        shape=np.where(alive, shape, np.nan)[None],
        scale=np.ones((1, len(mean))),
        skew=np.ones((1, len(mean))),
        shares=np.ones(1),
        largest=np.empty(0),
        tail=(0.0, LEAST_SPREAD),
    )
    other_mean, other_deviation = leave_one_out(values)
    drawn = studentise(values, other_mean, np.where(alive, other_deviation, 1.0))
    largest = np.sort(law.largest_of(drawn[:, None]))
    own = studentise(observed, mean, deviation)
    return Resampled(observed, mean, own, replace(law, largest=largest))
