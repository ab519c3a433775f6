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

import numpy as np

from monitors.encoder import FloatArray
from monitors.feature_shift.likelihood_ratio import RIDGE
from monitors.gram import moments


def statistic(reference: FloatArray, window: FloatArray) -> FloatArray:
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


def gaussian(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance of the Gaussian fitted to a Gram matrix, or to each of a stack."""
    _, mean, covariance = moments(gram)
    return mean, covariance + RIDGE * np.eye(covariance.shape[-1])
