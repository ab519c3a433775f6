"""Fills gaps in rows of scores, so that a row with a gap says nothing new about its feature.

A missing score is drawn from its Gaussian conditional given the row's other values, by Gibbs
sampling under the reference's precision matrix. The draws are a function of the row's content: the
order of the rows, and how they are split, do not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from monitors.quantile_table import WINSOR

_SWEEPS = 5

_Floats = NDArray[np.float64]
_Words = NDArray[np.uint64]


def fill_gaps(scores: _Floats, precision: _Floats, numeric: int) -> _Floats:
    """Draw missing scores from N(−Σ_k≠j Ω_jk x_k / Ω_jj, 1/Ω_jj), sweep by sweep.

    Parameters
    ----------
    scores : FloatArray, shape (rows, g)
        NaN where missing; only the first `numeric` columns are filled.
    precision : FloatArray, shape (g, g)

    Returns
    -------
    FloatArray, shape (rows, g)
    """
    gaps = np.isnan(scores)
    filled = np.where(gaps, 0.0, scores)
    seeds = _row_hash(filled, gaps)
    for sweep in range(_SWEEPS):
        for j in np.flatnonzero(gaps[:, :numeric].any(axis=0)):
            at = np.flatnonzero(gaps[:, j])
            values, weight = filled[at], precision[j, j]
            mean = values[:, j] - (values @ precision[j]) / weight
            noise = ndtri(_uniform(seeds[at], sweep * scores.shape[1] + int(j)))
            filled[at, j] = np.clip(mean + noise / np.sqrt(weight), -WINSOR, WINSOR)
    return filled


def _mix(bits: _Words) -> _Words:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _row_hash(values: _Floats, gaps: NDArray[np.bool_]) -> _Words:
    hashed = np.zeros(len(values), dtype=np.uint64)
    for j in range(values.shape[1]):
        column = np.ascontiguousarray(values[:, j] + 0.0)  # + 0.0: −0 and 0 are one value
        bits = column.view(np.uint64)
        hashed = _mix(hashed * np.uint64(0x9E3779B97F4A7C15) + bits + gaps[:, j].astype(np.uint64))
    return hashed


def _uniform(seeds: _Words, draw: int) -> _Floats:
    stride = (draw + 1) * 0x9E3779B97F4A7C15 % 2**64  # NumPy warns where a scalar wraps around
    bits = _mix(seeds + np.uint64(stride))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
