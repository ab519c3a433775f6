"""The conditional likelihood ratio of every feature, in closed form from three Gram matrices.

With Σ the covariance of the basis columns, Ω = (Σ + λI)⁻¹ and Ω_JJ the diagonal block of feature
j's columns, (Ω_JJ)⁻¹ is the covariance of φ(x_j) given all columns of the other features. With V_j
the sum of the logs of its diagonal,

    LR_j = n V_j(pooled) − n_p V_j(reference) − n_q V_j(window)

is the Gaussian likelihood ratio of "each column of φ(x_j), given the other features, has one
regression in both sets" against "two", summed over the columns. With one column per feature and
λ = 0 it is the classical test of equal regressions, asymptotically χ² with d + 1 degrees of freedom
(Anderson, An Introduction to Multivariate Statistical Analysis, §10).

The diagonal, not the determinant: x and x² given w = x − e have a conditional covariance that is
proportional to the mean of w, so that a determinant takes a shift of w for a change of x given w.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitors.basis import Basis
from monitors.encoder import FloatArray
from monitors.gram import moments

RIDGE = 1e-2  # of unit variance: the tests do not see conditional standard deviations below a tenth


def log_dispersion(gram: FloatArray, groups: Sequence[NDArray[np.intp]]) -> FloatArray:
    """Return V_j of every feature.

    Parameters
    ----------
    gram : FloatArray, shape (..., p + 1, p + 1)
    groups : basis columns of each feature; an empty group gives 0.

    Returns
    -------
    FloatArray, shape (..., features)
    """
    _, _, covariance = moments(gram)
    p = covariance.shape[-1]
    precision = np.linalg.inv(covariance + RIDGE * np.eye(p))
    result = np.zeros((*gram.shape[:-2], len(groups)))
    by_width: dict[int, list[int]] = {}
    for j, group in enumerate(groups):
        by_width.setdefault(len(group), []).append(j)
    for width, members in by_width.items():
        if width == 0:
            continue
        columns = np.stack([groups[j] for j in members])
        if width == 1:
            diagonal = np.diagonal(precision, axis1=-2, axis2=-1)[..., columns[:, 0]]
            result[..., members] = -np.log(diagonal)
        else:
            block = precision[..., columns[:, :, None], columns[:, None, :]]
            variances = np.diagonal(np.linalg.inv(block), axis1=-2, axis2=-1)
            result[..., members] = np.log(variances).sum(axis=-1)
    return result


def statistic(total: FloatArray, window: FloatArray, bases: Sequence[Basis]) -> FloatArray:
    """Return LR_j of every feature between the rows of a window and all others.

    Parameters
    ----------
    total : FloatArray, shape (p + 1, p + 1), or one for each window
        The Gram matrix of all rows.
    window : FloatArray, shape (..., p + 1, p + 1)

    Returns
    -------
    FloatArray, shape (..., bases, features), in nats
    """
    return deviance(total, bases) - deviance(total - window, bases) - deviance(window, bases)


def effect(
    ratio: FloatArray, expected: FloatArray, reference_rows: float, window_rows: float
) -> FloatArray:
    """Return the conditional mean shift, in standard deviations, that gives such ratios."""
    per_square = reference_rows * window_rows / (reference_rows + window_rows)
    size: FloatArray = np.sqrt(np.maximum(ratio - expected, 0.0) / per_square)
    return size


def deviance(gram: FloatArray, bases: Sequence[Basis]) -> FloatArray:
    """Return n V_j of every feature in every basis; see `log_dispersion`."""
    parts = [log_dispersion(basis.of(gram), basis.groups) for basis in bases]
    return gram[..., 0, 0, None, None] * np.stack(parts, axis=-2)
