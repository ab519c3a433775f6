"""k-cluster maps: each part of the reference is shifted by a vector of its own.

Kulinski and Inouye, Towards Explaining Distribution Shifts, ICML 2023, §4.2: the rows X and where
the optimal plan takes them, Z, are clustered together, on [X, Z]; in cluster c the map is
T(x) = x + mean(Z_c) − mean(X_c).

A category has no mean to shift. In every cluster, as many rows change their value as the shares in
Z_c ask for, drawn at random, and no more; the source draws all values anew from these shares, which
also breaks up what the category has to do with the other columns.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from monitors.encoder import FloatArray

_STARTS = 3  # k-means ends in a local optimum; the best of so many counts
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """A map by clusters, the largest first."""

    moved: FloatArray  #: shape (n, p), where it takes the rows
    shifts: FloatArray  #: shape (k, p), of the mean of each cluster
    centres: FloatArray  #: shape (k, p), mean of each cluster before
    sizes: FloatArray  #: shape (k,), shares of the rows


def cluster_map(
    X: FloatArray,
    Z: FloatArray,
    k: int,
    categories: Sequence[NDArray[np.intp]],
    rng: np.random.Generator,
) -> ClusterMap:
    """Fit the map by at most k clusters.

    Parameters
    ----------
    X, Z : FloatArray, shape (n, p)
        Rows, and where the optimal plan takes them.
    categories : coordinates of each category, one of which is not 0 in a row.
    """
    labels = cluster(np.hstack([X, Z]), k, rng)
    counts = np.bincount(labels)
    order = np.argsort(-counts, kind="stable")
    centres = np.stack([X[labels == c].mean(axis=0) for c in order])
    shifts = np.stack([Z[labels == c].mean(axis=0) for c in order]) - centres
    moved = X + shifts[np.argsort(order)[labels]]
    for group in categories:
        for c in order:
            own = np.ix_(labels == c, group)
            moved[own] = _change_least(X[own], Z[own], rng)
    return ClusterMap(moved, shifts, centres, counts[order] / len(X))


def cluster(points: FloatArray, k: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return labels 0, 1, … of at most k clusters: k-means, from k-means++ starts."""
    distinct = len(np.unique(points, axis=0))
    best, best_inertia = np.zeros(len(points), dtype=np.intp), np.inf
    for _ in range(_STARTS if min(k, distinct) > 1 else 0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a cluster ran empty: one fewer
            centres, labels = kmeans2(points, min(k, distinct), iter=_ROUNDS, minit="++", rng=rng)
        inertia = float(((points - centres[labels]) ** 2).sum())
        if inertia < best_inertia:
            best, best_inertia = labels, inertia
    return np.unique(best, return_inverse=True)[1]


def _change_least(X: FloatArray, Z: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the indicators X with the shares of Z, and as few rows changed as that takes."""
    old, new = X.argmax(axis=1), Z.argmax(axis=1)
    levels = X.shape[1]
    gain = np.bincount(new, minlength=levels) - np.bincount(old, minlength=levels)
    given_up = [
        rng.choice(np.flatnonzero(old == level), -gain[level], replace=False)
        for level in np.flatnonzero(gain < 0)
    ]
    changed = old.copy()
    if given_up:
        rows = rng.permutation(np.concatenate(given_up))
        changed[rows] = np.repeat(np.arange(levels), np.maximum(gain, 0))
    moved: FloatArray = np.where(changed[:, None] == np.arange(levels), X.max(initial=0.0), 0.0)
    return moved
