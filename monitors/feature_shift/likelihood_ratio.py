"""The block conditional likelihood ratio of every feature, in closed form from three Gram matrices.

With Σ the covariance of the basis columns, Ω = (Σ + λI)⁻¹ and Ω_JJ the diagonal block of feature
j's columns, −log|Ω_JJ| is the log of the generalised variance of φ(x_j) given all other columns, so
that

    LR_j = n (−log|Ω_JJ|)_pooled − n_p (−log|Ω_JJ|)_reference − n_q (−log|Ω_JJ|)_window

is the Gaussian likelihood ratio of "φ(x_j) given the rest has one regression in both sets" against
"two". With one column per feature and λ = 0 it is the classical test of equal regressions,
asymptotically χ² with d + 1 degrees of freedom (Anderson, An Introduction to Multivariate
Statistical Analysis, §10).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.gram import moments

RIDGE = 1e-2  # of unit variance: the tests do not see conditional standard deviations below a tenth


def log_dispersion(gram: FloatArray, groups: Sequence[NDArray[np.intp]]) -> FloatArray:
    """Return −log|Ω_JJ| of every feature.

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
            result[..., members] = -np.linalg.slogdet(block)[1]
    return result


def likelihood_ratio(
    reference: FloatArray, window: FloatArray, groups: Sequence[NDArray[np.intp]]
) -> FloatArray:
    """Return LR_j of every feature for a pair, or a stack of pairs, of Gram matrices.

    Parameters
    ----------
    reference, window : FloatArray, shape (..., p + 1, p + 1)

    Returns
    -------
    FloatArray, shape (..., features), in nats
    """
    return (
        deviance(reference + window, groups)
        - deviance(reference, groups)
        - deviance(window, groups)
    )


def deviance(gram: FloatArray, groups: Sequence[NDArray[np.intp]]) -> FloatArray:
    """Return −n log|Ω_JJ| of every feature; see `log_dispersion`."""
    return gram[..., 0, 0, None] * log_dispersion(gram, groups)


def without(
    gram: FloatArray, groups: Sequence[NDArray[np.intp]], removed: Sequence[int]
) -> tuple[FloatArray, list[NDArray[np.intp]]]:
    """Marginalise features out: drop their columns from Gram matrices and renumber the groups.

    A removed feature keeps its place with an empty group, whose likelihood ratio is 0.
    """
    if not removed:
        return gram, list(groups)
    gone = np.concatenate([np.asarray([], dtype=np.intp), *(groups[j] for j in removed)])
    kept = np.setdiff1d(np.arange(gram.shape[-1] - 1), gone)
    position = np.full(gram.shape[-1] - 1, -1, dtype=np.intp)
    position[kept] = np.arange(len(kept))
    index = np.concatenate([[0], kept + 1])
    smaller = gram[..., index[:, None], index[None, :]]
    empty = np.asarray([], dtype=np.intp)
    return smaller, [empty if j in removed else position[group] for j, group in enumerate(groups)]
