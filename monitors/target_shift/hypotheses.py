"""Target shift, covariate shift, or both: which of P(x|y) and P(y|x) held when the inputs moved.

- `p_moved`: the inputs are distributed as in the reference.
- `p_target`: P(x|y) is as before (target shift alone). Where the window's targets are known, inputs
  are compared given the target; where not, the reference, weighted by what the inputs say of the
  target's law, is compared with the window (`monitors.target_shift.reweighted`).
- `p_covariate`: P(y|x) is as before (covariate shift alone): the error of a pooled regression is
  compared within strata of the propensity to be a row of the window, given which the inputs of both
  sets have one law (Rosenbaum and Rubin, Biometrika 1983).

Series with a memory are thinned to rows that are nearly independent (`sample_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.target_shift.inputs import Rows, cross_fitted_scores, sample_rows
from monitors.target_shift.kernel_ridge import cross_fit, deal_folds, kernel_of
from monitors.target_shift.retasa import FEWEST_ROWS, place_on, retasa
from monitors.target_shift.reweighted import p_reweighted
from monitors.target_shift.two_sample import (
    equal_strata,
    median_kernel,
    p_given,
    p_moved,
    residual_kernel,
)
from monitors.target_shift.verdict import TargetShift
from monitors.target_shift.wording import sentence, verdict_of

_STRATA = 20  # of the target, and of the propensity
_KNOTS = 10  # of the linear spline of the inputs on the target


def target_shift(
    before: pa.Table,
    after: pa.Table,
    target: str,
    features: Sequence[str],
    *,
    seed: int,
) -> TargetShift:
    """Say whether the target's distribution moved, or the inputs', in a window.

    Parameters
    ----------
    before : reference rows with features and target; rows whose target is null are left out.
    after : the window's rows, in order of time; the target may be missing or null.
    target, features : column names; other columns are not read.
    seed : of samples, folds, permutations and bootstrap.

    Returns
    -------
    TargetShift
        ``unknown``, with p-values of 1 and None, where either set has fewer than 30 rows, or
        nothing varies.

    Raises
    ------
    ReferenceDataError
        When a column is missing, or the target holds no numbers.
    """
    rng = np.random.default_rng(seed)
    rows = sample_rows(before, after, target, features, rng, independent=True)
    n, m = len(rows.y), len(rows.y_after)
    mean = float(rows.y.mean()) if n else 0.0
    if min(n, m) < FEWEST_ROWS or np.ptp(rows.y) == 0.0 or not rows.inputs.shape[1]:
        why = f"not tested: {n} reference rows and {m} of the window say too little"
        if rows.spacing > 1:
            why += f" (every {rows.spacing}th: those between depend on them)"
        return TargetShift(target, "unknown", 1.0, None, None, mean, mean, float(n), why)
    kernel = median_kernel(rows.inputs)
    moved = p_moved(kernel, np.arange(n + m) >= n, rng)
    # Not the baseline's forecaster: it has seen these rows of the reference.
    score, score_after = cross_fitted_scores(rows, rng)
    known = np.isfinite(rows.y_after)
    by_covariate = None
    if np.count_nonzero(known) >= FEWEST_ROWS:
        by_target, by_covariate = _p_labelled(rows, known, rng)
    else:
        by_target = p_reweighted(kernel, score, rows.y, score_after, rng)
    found = retasa(score[:, None], rows.y, score_after[:, None], seed=seed)
    means = (mean, found.mean_after)
    verdict = verdict_of(moved, by_target, by_covariate)
    return TargetShift(
        target=target,
        verdict=verdict,
        p_moved=moved,
        p_target=by_target,
        p_covariate=by_covariate,
        mean_before=means[0],
        mean_after=means[1],
        effective_rows=found.effective_rows,
        sentence=sentence(verdict, moved, by_target, by_covariate, means),
    )


def _p_labelled(
    rows: Rows, known: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the p-values of: P(x|y) is as before; P(y|x) is as before."""
    n = len(rows.y)
    used = np.concatenate([np.ones(n, np.bool_), known])
    inputs, y = rows.inputs[used], np.concatenate([rows.y, rows.y_after[known]])
    in_after = np.arange(len(y)) >= n
    scaled = (y - y.mean()) / y.std()

    knots = np.unique(np.quantile(y, np.linspace(0.0, 1.0, _KNOTS)))
    spline = place_on(y, knots)
    residual = inputs - spline @ np.linalg.lstsq(spline, inputs)[0]
    spread = residual.std(axis=0)
    residual /= np.where(spread > 0.0, spread, 1.0)
    by_target = p_given(
        residual_kernel(residual, scaled[:, None]), in_after, equal_strata(y, _STRATA), rng
    )

    both = np.column_stack([scaled, in_after])
    everyone = np.ones(len(y), np.bool_)
    fitted = cross_fit(kernel_of(inputs), both, deal_folds(len(y), rng), everyone)
    error = scaled - fitted[:, 0]
    by_covariate = p_given(
        residual_kernel(error[:, None] / error.std(), inputs),
        in_after,
        equal_strata(fitted[:, 1], _STRATA),
        rng,
    )
    return by_target, by_covariate
