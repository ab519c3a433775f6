"""The remedy for target shift: the reference's rows, weighted as the window's targets are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from monitors.encoder import FloatArray
from monitors.target_shift.inputs import cross_fitted_scores, sample_rows, target_values
from monitors.target_shift.retasa import retasa


def reweight(
    before: pa.Table,
    after: pa.Table,
    target: str,
    features: Sequence[str],
    *,
    seed: int,
) -> FloatArray:
    """Return the weights with which `transforms.forecast.select.fit_forecaster` is to fit again.

    They are right where P(x|y) held (`monitors.target_shift.hypotheses`), and need no targets of
    the window. The ratio is estimated on a sample and read off at every row's target.

    Parameters
    ----------
    before : reference rows with features and target.
    after : the window's rows.
    seed : of the sample, the folds and the choice of the penalty.

    Returns
    -------
    FloatArray, shape (rows of before,)
        Mean 1 over rows with a target; 0 where it is null.

    Raises
    ------
    ReferenceDataError
        When a column is missing, the target holds no numbers, or rows are too few.
    """
    rng = np.random.default_rng(seed)
    rows = sample_rows(before, after, target, features, rng, independent=False)
    score, score_after = cross_fitted_scores(rows, rng)
    ratio = retasa(score[:, None], rows.y, score_after[:, None], seed=seed)
    y = target_values(before, target)
    known = np.isfinite(y)
    weights = np.zeros(len(y))
    weights[known] = ratio.at(y[known])
    weights /= weights[known].mean()
    return weights
