"""CV+ for quantile intervals: every fold's model speaks for the next row."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.calibrate.online import Floats

_AT_ONCE = 2_000_000  # numbers held: rows to come times calibration rows


def out_of_fold_scores(lower: ArrayLike, upper: ArrayLike, outcome: ArrayLike) -> Floats:
    """Return E_i = max(ℓ(x_i) − y_i, y_i − u(x_i)), ends by the models that never saw row i."""
    lo, hi, y = (np.asarray(part, np.float64) for part in (lower, upper, outcome))
    scores: Floats = np.maximum(lo - y, y - hi)
    return scores


def cv_plus(
    lower: ArrayLike,
    upper: ArrayLike,
    scores: ArrayLike,
    folds: ArrayLike,
    interval: float,
) -> tuple[Floats, Floats]:
    """CV+ (Barber, Candès, Ramdas and Tibshirani, Annals of Statistics 2021), with CQR's score.

    The lower end of x is the ⌊α(n + 1)⌋-th smallest of ℓ_k(i)(x) − E_i, the upper end the
    ⌈(1 − α)(n + 1)⌉-th smallest of u_k(i)(x) + E_i, where k(i) is the fold of row i and its model
    was fitted without that fold. On exchangeable rows coverage is at least 1 − 2α − √(2/n), and
    close to 1 − α where the models are stable. `cqr.calibrate` of the same scores around one
    model refitted on all rows is cheaper, and has no such bound.

    Parameters
    ----------
    lower, upper : arrays, shape (K, m)
        Ends of m rows to come by the model of each fold, unit of the target.
    scores : array, shape (n,)
        `out_of_fold_scores`; NaN where there is no outcome: such rows are left out.
    folds : array, shape (n,)
        Fold of each, 0 to K − 1.
    interval : float in (0, 1)
        1 − α.

    Returns
    -------
    lower, upper : float64 arrays, shape (m,)
        Infinite where n < (1 − α)/α. Where they would cross, both are their middle.
    """
    low, high, e = (np.asarray(part, np.float64) for part in (lower, upper, scores))
    of: NDArray[np.intp] = np.asarray(folds, np.intp)
    of, e = of[~np.isnan(e)], e[~np.isnan(e)]
    n, m = len(e), low.shape[1]
    # the small number keeps a rank that is whole in arithmetic from rounding up
    rank = math.ceil(interval * (n + 1) - 1e-9)
    ends = np.full((2, m), [[-np.inf], [np.inf]])
    if rank > n:
        return ends[0], ends[1]
    rows = max(1, _AT_ONCE // n)
    for first in range(0, m, rows):
        part = slice(first, first + rows)
        # ⌊α(n + 1)⌋-th smallest = ⌈(1 − α)(n + 1)⌉-th largest
        ends[0, part] = -np.partition(e[:, None] - low[of, part], rank - 1, axis=0)[rank - 1]
        ends[1, part] = np.partition(e[:, None] + high[of, part], rank - 1, axis=0)[rank - 1]
    middle = ends.mean(axis=0)
    return np.minimum(ends[0], middle), np.maximum(ends[1], middle)
