from __future__ import annotations

import numpy as np
import pytest

from monitors.explain.clusters import cluster, cluster_map


def test_one_cluster_is_the_mean_map(rng: np.random.Generator) -> None:
    """With k = 1 all rows are shifted by the difference of the means."""
    X, Z = rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + 2.0
    found = cluster_map(X, Z, 1, [], rng)
    assert np.allclose(found.moved, X + Z.mean(axis=0) - X.mean(axis=0))
    assert found.sizes.tolist() == [1.0]


def test_clusters_that_move_apart_are_found(rng: np.random.Generator) -> None:
    """Two groups with shifts of their own are told apart, the larger first."""
    X = rng.normal(size=(300, 2)) + np.where(np.arange(300) < 100, 10.0, 0.0)[:, None]
    Z = X + np.where(np.arange(300) < 100, 5.0, -1.0)[:, None]
    found = cluster_map(X, Z, 2, [], rng)
    assert found.sizes == pytest.approx([2 / 3, 1 / 3])
    assert np.allclose(found.shifts, [[-1.0, -1.0], [5.0, 5.0]])
    assert np.allclose(found.moved, Z)


def test_a_category_changes_in_no_more_rows_than_its_shares_ask(rng: np.random.Generator) -> None:
    """The map gives the category the shares of Z; rows whose value may stay keep it."""
    old, new = rng.choice(3, 500, p=[0.6, 0.3, 0.1]), rng.choice(3, 500, p=[0.2, 0.3, 0.5])
    X, Z = (2.0 * (codes[:, None] == np.arange(3)) for codes in (old, new))
    found = cluster_map(X, Z, 1, [np.arange(3)], rng)
    assert np.array_equal(found.moved.sum(axis=0), Z.sum(axis=0))
    assert set(np.unique(found.moved)) == {0.0, 2.0}
    counts = np.bincount(new) - np.bincount(old)
    assert (found.moved.argmax(axis=1) != old).sum() == np.maximum(counts, 0).sum()


def test_no_more_clusters_than_distinct_rows(rng: np.random.Generator) -> None:
    """Rows of few values make few clusters, and no warning."""
    points = np.repeat([[0.0, 0.0], [1.0, 5.0]], 20, axis=0)
    assert np.unique(cluster(points, 6, rng)).tolist() == [0, 1]
    assert np.unique(cluster(np.zeros((10, 2)), 3, rng)).tolist() == [0]
