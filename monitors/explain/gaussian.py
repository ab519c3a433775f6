"""The optimal transport map of two Gaussian laws, and their distance, in closed form.

T(x) = m_q + A (x − m_p) with A = S_p^−½ (S_p^½ S_q S_p^½)^½ S_p^−½, at the squared distance
|m_p − m_q|² + tr(S_p + S_q − 2 (S_p^½ S_q S_p^½)^½) (Dowson and Landau, J. Multivariate Analysis
1982; Peyré and Cuturi 2019, remark 2.31).
"""

from __future__ import annotations

import numpy as np

from monitors.encoder import FloatArray

RIDGE = 1e-8  # of the reference's covariance, as in the source: A exists where columns are constant


def transport_matrix(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return A, the symmetric matrix with A S_p A = S_q, for two covariances of shape (p, p)."""
    before = before + RIDGE * np.eye(len(before))
    root = _root(before)
    values, vectors = np.linalg.eigh(before)
    inverse = (vectors / np.sqrt(np.maximum(values, RIDGE))) @ vectors.T
    A: FloatArray = inverse @ _root(root @ after @ root) @ inverse
    return A


def affine_map(X: FloatArray, Y: FloatArray) -> FloatArray:
    """Return the rows of X, shape (n, p), mapped onto mean and covariance of Y, shape (m, p)."""
    before, after = (np.atleast_2d(np.cov(rows, rowvar=False, bias=True)) for rows in (X, Y))
    mapped: FloatArray = Y.mean(axis=0) + (X - X.mean(axis=0)) @ transport_matrix(before, after)
    return mapped


def bures(before: FloatArray, after: FloatArray) -> float:
    """Return the squared distance of two centred Gaussian laws, from their covariances."""
    root = _root(before)
    cross = np.linalg.eigvalsh(root @ after @ root)
    both = np.trace(before) + np.trace(after)
    return max(float(both - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum()), 0.0)


def gaussian_distance(X: FloatArray, Y: FloatArray) -> float:
    """Return the squared distance of the Gaussian laws with the moments of two samples.

    That of the samples is never smaller (Gelbrich, Mathematische Nachrichten 1990).
    """
    shift = Y.mean(axis=0) - X.mean(axis=0)
    before, after = (np.atleast_2d(np.cov(rows, rowvar=False, bias=True)) for rows in (X, Y))
    return float(shift @ shift) + bures(before, after)


def sampling_distance(covariance: FloatArray, rows: float) -> tuple[float, float]:
    """Return mean and deviation of the squared distance of the moments of two samples of one law.

    To second order in the errors of the moments, for a Gaussian law of covariance S with the
    eigenvalues λ: a sum of independent squares, which have the means λ_i / r (of the means),
    λ_i / 2r (of the variances) and λ_i λ_j / (λ_i + λ_j) r for i < j.

    Parameters
    ----------
    rows : r = 1 / (1/n_p + 1/n_q), of independent rows.
    """
    values = np.maximum(np.linalg.eigvalsh(covariance), 1e-12)
    i, j = np.triu_indices(len(values))
    pairs = values[i] * values[j] / (values[i] + values[j])  # λ_i / 2 where i = j
    squares = np.concatenate([values, pairs]) / rows
    return float(squares.sum()), float(np.sqrt(2.0 * (squares**2).sum()))


def _root(matrix: FloatArray) -> FloatArray:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    root: FloatArray = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root
