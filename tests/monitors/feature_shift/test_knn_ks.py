from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from monitors.feature_shift import knn_ks
from tests.monitors.simulated import Floats, chain


def by_trees(p: Floats, q: Floats, points: Floats, j: int, k: int) -> float:
    """Return the statistic the slow way: two search trees, and SciPy's KS statistic per point."""
    near = [
        x[cKDTree(np.delete(x, j, axis=1)).query(np.delete(points, j, axis=1), k)[1], j]
        for x in (p, q)
    ]
    return float(np.mean([stats.ks_2samp(*values).statistic for values in zip(*near, strict=True)]))


@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "ties"])
def test_it_is_the_mean_ks_distance_of_nearest_neighbours(
    rng: np.random.Generator, *, rounded: bool
) -> None:
    """Search trees find the same neighbours; equal values count once."""
    p, q = chain(rng, 150, 4), chain(rng, 90, 4) + 0.5
    if rounded:
        p[:, 1], q[:, 1] = np.round(p[:, 1]), np.round(q[:, 1])
    rows, points = np.concatenate([p, q]), np.arange(0, 240, 12)
    neighbours = knn_ks.find_neighbours(rows, [1, 3], points, k=20)
    found = knn_ks.statistic(neighbours, np.arange(240) >= 150)
    assert found == pytest.approx([by_trees(p, q, rows[points], j, 20) for j in (1, 3)])


def test_neighbours_far_away_are_found_too(rng: np.random.Generator) -> None:
    """Two clouds that do not touch: the other cloud's nearest rows come after all of one's own."""
    p, q = chain(rng, 200, 3), chain(rng, 200, 3) + 50.0
    rows, points = np.concatenate([p, q]), np.arange(0, 400, 40)
    neighbours = knn_ks.find_neighbours(rows, [0], points, k=10)
    found = knn_ks.statistic(neighbours, np.arange(400) >= 200)
    assert found == pytest.approx([1.0])


def test_rows_dealt_anew_are_as_if_searched_anew(rng: np.random.Generator) -> None:
    """The neighbours put in order once serve any split of the rows."""
    rows, points = chain(rng, 200, 3), np.arange(0, 200, 20)
    neighbours = knn_ks.find_neighbours(rows, [0, 1, 2], points, k=15)
    for _ in range(3):
        window = rng.permutation(np.arange(200) < 80)
        slow = [by_trees(rows[~window], rows[window], rows[points], j, 15) for j in range(3)]
        assert knn_ks.statistic(neighbours, window) == pytest.approx(slow)
