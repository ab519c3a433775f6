"""The exact squared Wasserstein distance of two samples of equal size.

With equally many rows of equal weight on both sides an optimal transport plan is an assignment
(Birkhoff; Peyré and Cuturi, Computational Optimal Transport, 2019, proposition 2.1), and its
barycentric projection is a permutation of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from monitors.encoder import FloatArray


def transport(X: FloatArray, Y: FloatArray) -> tuple[NDArray[np.intp], float]:
    """Return the optimal plan between two samples and their squared W2 distance.

    Parameters
    ----------
    X, Y : FloatArray, shape (n, p)

    Returns
    -------
    plan : NDArray[np.intp], shape (n,)
        Row i of X goes to row plan[i] of Y.
    distance : float
        Mean squared length of the way.
    """
    # Means, and the least cost of each row and column, cannot be avoided by any plan. Without them
    # the plan is the same, and is found in half the time.
    cost = cdist(X - X.mean(axis=0), Y - Y.mean(axis=0), "sqeuclidean")
    cost -= cost.min(axis=1, keepdims=True)
    cost -= cost.min(axis=0)
    _, plan = linear_sum_assignment(cost)
    return plan, float(((X - Y[plan]) ** 2).sum(axis=1).mean())


def squared_distance(X: FloatArray, Y: FloatArray) -> float:
    """Return the squared W2 distance of two samples of equal size."""
    return transport(X, Y)[1]
