"""Cross-fitted kernel ridge regression: predictions from models that have not seen the row.

What a statistical test asks of a regression is that a row's error says nothing of the row's having
been fitted to. Each row is therefore predicted by a model of the other folds, and each row that
belongs to no fold by the model of one fold drawn for it: both kinds of rows have then one law where
nothing has changed (cross-fitting: Chernozhukov et al., The Econometrics Journal 2018, §3).

The kernel is a Gaussian, as wide as the median distance, plus a linear one: it can bend, and goes
on straight where there were no rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.target_shift.two_sample import squared_distances

FOLDS = 5
_PENALTIES = (0.02, 0.2, 2.0)  # times √rows, beside a kernel of diagonal 2


def cross_fit(
    kernel: FloatArray, outcome: FloatArray, folds: NDArray[np.int64], known: NDArray[np.bool_]
) -> FloatArray:
    """Predict every row by the model of its fold, which is fitted to the known rows of the others.

    The penalty of each outcome is the one with the least squared error over all known rows.

    Parameters
    ----------
    kernel : FloatArray, shape (rows, rows), as `kernel_of` gives it.
    outcome : FloatArray, shape (known rows, k)
    folds : int64 array, shape (rows,), from 0 to `FOLDS` − 1.
    known : bool array, shape (rows,): where the outcome is known.

    Returns
    -------
    FloatArray, shape (rows, k)
    """
    from scipy.linalg import cho_factor, cho_solve

    found = np.empty((len(_PENALTIES), len(kernel), outcome.shape[1]))
    at = np.flatnonzero(known)
    for fold in range(FOLDS):
        fit = folds[at] != fold
        rows, test = at[fit], np.flatnonzero(folds == fold)
        centre = outcome[fit].mean(axis=0)
        inner, outer = kernel[np.ix_(rows, rows)], kernel[np.ix_(test, rows)]
        for place, penalty in enumerate(_PENALTIES):
            ridged = inner + penalty * len(rows) ** 0.5 * np.eye(len(rows))
            solved = cho_solve(cho_factor(ridged, overwrite_a=True), outcome[fit] - centre)
            found[place, test] = centre + outer @ solved
    errors = ((found[:, at] - outcome) ** 2).sum(axis=1)
    best = errors.argmin(axis=0)
    predicted: FloatArray = np.take_along_axis(found, best[None, None], axis=0)[0]
    return predicted


def kernel_of(X: FloatArray) -> FloatArray:
    """Return the kernel between all rows of standardised columns, shape (rows, rows)."""
    distance = squared_distances(X)
    scale = float(np.median(distance)) or 1.0
    bent: FloatArray = np.exp(-0.5 * distance / scale) + X @ X.T / X.shape[1]
    return bent


def deal_folds(rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a fold of each row, of near equal sizes, in random order."""
    return rng.permutation(np.arange(rows) % FOLDS)
