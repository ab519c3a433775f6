"""The Kolmogorov-Smirnov distance between the Gaussian conditionals of every feature.

At each of some points x, drawn in equal number from the two Gaussians fitted to the two sets of
rows, the conditionals p̂(x_j | x_−j) and q̂(x_j | x_−j) are compared, and the distances averaged
(Kulinski, Bagchi and Inouye, Feature Shift Detection, NeurIPS 2020, §3.1). The paper draws 1,000
values from each conditional; of two Gaussians the distance is known, which is the limit of many
draws, and some hundred times cheaper.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from monitors.encoder import FloatArray
from monitors.feature_shift.fisher import gaussian

POINTS = 30  # from each of the two Gaussians, as in the paper's experiments


def statistic(reference: FloatArray, window: FloatArray, normals: FloatArray) -> FloatArray:
    """Return the mean distance of every column's conditionals for a pair of Gram matrices.

    Parameters
    ----------
    reference, window : FloatArray, shape (p + 1, p + 1)
    normals : FloatArray, shape (2, points, p)
        Standard normal numbers that become the points of the reference's and of the window's
        Gaussian. Given them, the statistic is a function of the Gram matrices.

    Returns
    -------
    FloatArray, shape (p,), from 0 to 1
    """
    models = [gaussian(gram) for gram in (reference, window)]
    points = np.concatenate(
        [
            mean + own @ np.linalg.cholesky(spread).T
            for own, (mean, spread) in zip(normals, models, strict=True)
        ]
    )
    (mean_p, deviation_p), (mean_q, deviation_q) = (
        _conditionals(points, mean, spread) for mean, spread in models
    )
    distance = gaussian_ks((mean_q - mean_p) / deviation_p, deviation_q / deviation_p)
    result: FloatArray = distance.mean(axis=0)
    return result


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
    """Return means (points, p) and deviations (p,) of each column given the others."""
    precision = np.linalg.inv(covariance)
    weight = np.diagonal(precision)
    return points - (points - mean) @ precision / weight, 1.0 / np.sqrt(weight)
