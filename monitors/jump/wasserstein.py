"""Distributions of numbers as quantile functions: Fréchet means under the 2-Wasserstein distance.

On the line the squared distance of two distributions is ∫₀¹ (Q₁ − Q₂)² du of their quantile
functions, so that the Fréchet mean is the weighted average of the quantile functions, projected
onto the monotone ones where weights are negative (Petersen and Müller, Annals of Statistics 2019,
§3 and §6).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from monitors.encoder import FloatArray


def quantile_functions(samples: Sequence[ArrayLike], levels: FloatArray) -> FloatArray:
    """Return the empirical quantiles of each sample (type 7 of Hyndman and Fan).

    Parameters
    ----------
    samples : n samples, each of shape (m_i,), float64, without NaN, not empty.
    levels : shape (q,), rising, between 0 and 1.

    Returns
    -------
    FloatArray, shape (n, q)
    """
    functions = np.empty((len(samples), len(levels)))
    for at, sample in enumerate(samples):
        functions[at] = np.quantile(np.asarray(sample, dtype=np.float64), levels)
    return functions


def monotone(function: FloatArray) -> FloatArray:
    """Return the nearest function, by least squares, that nowhere falls; shape (q,)."""
    if np.all(np.diff(function) >= 0.0):
        return function
    nearest: FloatArray = isotonic_regression(function).x
    return nearest


def frechet_mean(weights: FloatArray, functions: FloatArray) -> FloatArray:
    """Return the weighted Fréchet mean; weights, of shape (n,), may be negative and sum to 1.

    Parameters
    ----------
    functions : shape (n, q), quantile functions.

    Returns
    -------
    FloatArray, shape (q,)
    """
    return monotone(weights @ functions)


def squared_distance(functions: FloatArray, other: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the squared 2-Wasserstein distance over the levels, by the trapezoid rule.

    Parameters
    ----------
    functions : shape (..., q)
    other : shape (q,)
    """
    return np.asarray(np.trapezoid((functions - other) ** 2, levels, axis=-1))
