"""k-sparse maps: those that change only k of the features.

Kulinski and Inouye, Towards Explaining Distribution Shifts, ICML 2023, §4.1. The features are the k
whose own change is largest, so that maps of growing k are nested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray

Groups = Sequence[NDArray[np.intp]]  #: coordinates of each feature


def by_mean(shift: FloatArray, groups: Groups) -> list[int]:
    """Return the features by the length of their shift of the mean, the largest first.

    Parameters
    ----------
    shift : FloatArray, shape (p,)
    """
    return _largest_first([float((shift[group] ** 2).sum()) for group in groups])


def by_transport(X: FloatArray, Z: FloatArray, groups: Groups) -> list[int]:
    """Return the features by the cost of their own transport, the largest first.

    Parameters
    ----------
    X, Z : FloatArray, shape (n, p)
        Rows, and where the optimal plan takes them.
    """
    return _largest_first([float(((Z - X)[:, group] ** 2).sum()) for group in groups])


def replace_features(
    X: FloatArray, Z: FloatArray, groups: Groups, chosen: Sequence[int]
) -> FloatArray:
    """Return X with the coordinates of some features taken from Z."""
    moved = X.copy()
    for feature in chosen:
        moved[:, groups[feature]] = Z[:, groups[feature]]
    return moved


def _largest_first(sizes: list[float]) -> list[int]:
    return [int(j) for j in np.argsort([-size for size in sizes], kind="stable")]
