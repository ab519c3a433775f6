"""The Kolmogorov-Smirnov distance between the Gaussian conditionals of every feature.

At each of some points x, drawn in equal number from the two Gaussians fitted to the two sets of
rows, the conditionals p̂(x_j | x_−j) and q̂(x_j | x_−j) are compared, and the distances averaged
(Kulinski, Bagchi and Inouye, Feature Shift Detection, NeurIPS 2020, §3.1). The paper draws 1,000
values from each conditional; of two Gaussians the distance is known, which is the limit of many
draws, and some hundred times cheaper.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from monitors.basis import Basis
from monitors.encoder import FloatArray
from monitors.feature_shift.fisher import gaussian

POINTS = 30  # from each of the two Gaussians, as in the paper's experiments
_CLOSEST = 0.999  # a distance of 1 would be an infinite shift


def statistic(total: FloatArray, window: FloatArray, bases: Sequence[Basis]) -> FloatArray:
    """Return the mean distance of every number's conditionals; 0 for what is not one column.

    Parameters
    ----------
    total : FloatArray, shape (p + 1, p + 1), or one for each window
        The Gram matrix of all rows.
    window : FloatArray, shape (..., p + 1, p + 1)

    Returns
    -------
    FloatArray, shape (..., bases, features), from 0 to 1
    """
    return np.stack([_of_basis(basis, total, window) for basis in bases], axis=-2)


def _of_basis(basis: Basis, total: FloatArray, window: FloatArray) -> FloatArray:
    whole, part = basis.of(total), basis.of(window)
    found = distances(whole - part, part, _normals(whole.shape[-1] - 1))
    result = np.zeros((*found.shape[:-1], len(basis.groups)))
    single = [j for j, group in enumerate(basis.groups) if len(group) == 1]
    result[..., single] = found[..., [int(basis.groups[j][0]) for j in single]]
    return result


@functools.lru_cache(maxsize=8)
def _normals(p: int) -> FloatArray:
    """Return standard normal numbers: the same for all, so that points do not add noise."""
    return np.random.default_rng(0).standard_normal((2, POINTS, p))


def distances(reference: FloatArray, window: FloatArray, normals: FloatArray) -> FloatArray:
    """Return the mean distance of every column's conditionals for pairs of Gram matrices.

    Parameters
    ----------
    reference, window : FloatArray, shape (..., p + 1, p + 1)
    normals : FloatArray, shape (2, points, p)
        Standard normal numbers that become the points of the reference's and of the window's
        Gaussian. Given them, the statistic is a function of the Gram matrices.

    Returns
    -------
    FloatArray, shape (..., p), from 0 to 1
    """
    models = [gaussian(gram) for gram in (reference, window)]
    points = np.concatenate(
        [
            mean[..., None, :] + own @ np.swapaxes(np.linalg.cholesky(spread), -1, -2)
            for own, (mean, spread) in zip(normals, models, strict=True)
        ],
        axis=-2,
    )
    (mean_p, deviation_p), (mean_q, deviation_q) = (
        _conditionals(points, mean, spread) for mean, spread in models
    )
    distance = gaussian_ks(
        (mean_q - mean_p) / deviation_p[..., None, :], (deviation_q / deviation_p)[..., None, :]
    )
    result: FloatArray = distance.mean(axis=-2)
    return result


def effect(distance: FloatArray, expected: FloatArray, _: float, __: float) -> FloatArray:
    """Return the conditional mean shift, in standard deviations, that gives such distances."""
    size: FloatArray = np.sqrt(np.maximum(squared_shift(distance) - squared_shift(expected), 0.0))
    return size


def squared_shift(distance: FloatArray) -> FloatArray:
    """Return the squared shift, in standard deviations, that parts two normal laws by so much."""
    shift = 2.0 * ndtri(0.5 * (1.0 + np.minimum(distance, _CLOSEST)))
    squared: FloatArray = shift**2
    return squared


def gaussian_ks(shift: FloatArray, ratio: FloatArray) -> FloatArray:
    """Return sup_x |Φ(x) − Φ((x − shift) / ratio)|, attained where the two densities cross.

    They cross at the roots of (r² − 1) x² + 2 m x − (m² + 2 r² log r), m the shift, r the ratio.

    Parameters
    ----------
    shift, ratio : FloatArray, of shapes that broadcast; ratio > 0
    """
    square, log = ratio**2, np.log(ratio)
    root = ratio * np.sqrt(np.maximum(shift**2 + 2.0 * (square - 1.0) * log, 0.0))
    sum_ = -(shift + np.copysign(root, shift))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.stack([sum_ / (square - 1.0), -(shift**2 + 2.0 * square * log) / sum_])
    gaps = np.abs(ndtr(crossings) - ndtr((crossings - shift) / ratio))
    result: FloatArray = np.nan_to_num(gaps).max(axis=0)  # not a number: the two are the same
    return result


def _conditionals(
    points: FloatArray, mean: FloatArray, covariance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return means (..., points, p) and deviations (..., p) of each column given the others."""
    precision = np.linalg.inv(covariance)
    weight = np.diagonal(precision, axis1=-2, axis2=-1)
    residuals = (points - mean[..., None, :]) @ precision / weight[..., None, :]
    return points - residuals, 1.0 / np.sqrt(weight)
