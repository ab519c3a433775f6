"""The Fisher score of every feature, in closed form from two Gram matrices.

The paper's γ_j is the mean square of the difference of two score functions,

    γ_j = ½ Σ over p̂ and q̂ of E (∂_j log p̂(x) − ∂_j log q̂(x))²

where ∂_j log p(x_j | x_−j) = ∂_j log p(x), so that no conditional density is needed (Kulinski,
Bagchi and Inouye, Feature Shift Detection, NeurIPS 2020, §3.2, who draw the x). For Gaussians
p̂ = N(m_p, S_p) and q̂ = N(m_q, S_q) the difference is linear in x, and the mean is exact: with
A = S_p⁻¹, B = S_q⁻¹, N = A − B, c = A m_p − B m_q,

    γ_j = ½ Σ over (m, S) of (N S Nᵀ)_jj + (N m − c)_j².
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitors.basis import Basis
from monitors.encoder import FloatArray
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.gram import moments


def statistic(total: FloatArray, window: FloatArray, bases: Sequence[Basis]) -> FloatArray:
    """Return γ_j of every feature, in units of the pooled conditional variance.

    That of a feature of several columns is the sum over them.

    Parameters
    ----------
    total : FloatArray, shape (p + 1, p + 1), or one for each window
        The Gram matrix of all rows.
    window : FloatArray, shape (..., p + 1, p + 1)

    Returns
    -------
    FloatArray, shape (..., bases, features)
    """
    return np.stack([_of_basis(basis, total, window) for basis in bases], axis=-2)


def _of_basis(basis: Basis, total: FloatArray, window: FloatArray) -> FloatArray:
    whole, part = basis.of(total), basis.of(window)
    precision = np.diagonal(np.linalg.inv(gaussian(whole)[1]), axis1=-2, axis2=-1)
    scores = scores_apart(whole - part, part) / precision
    return np.stack([scores[..., group].sum(axis=-1) for group in basis.groups], axis=-1)


def scores_apart(reference: FloatArray, window: FloatArray) -> FloatArray:
    """Return γ_j of every column for a pair, or a stack of pairs, of Gram matrices.

    Parameters
    ----------
    reference, window : FloatArray, shape (..., p + 1, p + 1)

    Returns
    -------
    FloatArray, shape (..., p), per squared unit of the column
    """
    (mean_p, spread_p), (mean_q, spread_q) = gaussian(reference), gaussian(window)
    a, b = np.linalg.inv(spread_p), np.linalg.inv(spread_q)
    difference = a - b
    offset = (a @ mean_p[..., None] - b @ mean_q[..., None])[..., 0]
    total = np.zeros_like(mean_p)
    for mean, spread in ((mean_p, spread_p), (mean_q, spread_q)):
        total += np.sum(difference @ spread * difference, axis=-1)
        total += ((difference @ mean[..., None])[..., 0] - offset) ** 2
    result: FloatArray = 0.5 * total
    return result


def effect(score: FloatArray, expected: FloatArray, _: float, __: float) -> FloatArray:
    """Return the conditional mean shift, in standard deviations, that gives such scores."""
    size: FloatArray = np.sqrt(np.maximum(score - expected, 0.0))
    return size


def gaussian(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance of the Gaussian fitted to a Gram matrix, or to each of a stack."""
    _, mean, covariance = moments(gram)
    return mean, covariance + RIDGE * np.eye(covariance.shape[-1])
