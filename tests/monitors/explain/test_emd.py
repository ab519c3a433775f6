from __future__ import annotations

import itertools

import numpy as np
import pytest

from monitors.explain.emd import squared_distance, transport


def test_distance_is_the_least_over_all_permutations(rng: np.random.Generator) -> None:
    """On six rows the distance is that of the best of the 720 permutations."""
    for _ in range(5):
        X, Y = rng.normal(size=(6, 3)), 3.0 + rng.normal(size=(6, 3))
        costs = [
            ((X - Y[list(order)]) ** 2).sum(axis=1).mean()
            for order in itertools.permutations(range(6))
        ]
        plan, distance = transport(X, Y)
        assert distance == pytest.approx(min(costs), rel=1e-12)
        assert ((X - Y[plan]) ** 2).sum(axis=1).mean() == pytest.approx(distance, rel=1e-12)


def test_distance_in_one_dimension_is_that_of_the_sorted_rows(rng: np.random.Generator) -> None:
    """In one dimension the optimal plan keeps the order."""
    X, Y = rng.normal(size=(200, 1)), rng.exponential(size=(200, 1))
    ordered = ((np.sort(X, axis=0) - np.sort(Y, axis=0)) ** 2).mean()
    assert squared_distance(X, Y) == pytest.approx(ordered, rel=1e-12)


def test_constant_shift_keeps_the_plan(rng: np.random.Generator) -> None:
    """A shift δ of the rows with means Δ apart changes the distance by |Δ − δ|² − |Δ|²."""
    X, Y = rng.normal(size=(150, 4)), rng.normal(size=(150, 4)) + np.array([1.0, 0.0, -2.0, 0.0])
    plan, distance = transport(X, Y)
    shift, apart = rng.normal(size=4), Y.mean(axis=0) - X.mean(axis=0)
    moved_plan, moved = transport(X + shift, Y)
    assert np.array_equal(plan, moved_plan)
    expected = distance + ((apart - shift) ** 2).sum() - (apart**2).sum()
    assert moved == pytest.approx(expected, rel=1e-9)


def test_toy_mean_shift_of_the_paper(rng: np.random.Generator) -> None:
    """Shifting a sample by [12, 6] puts it at 180; the first shift leaves 36, both leave 0."""
    X = rng.normal(size=(300, 2))
    Y = (X + np.array([12.0, 6.0]))[rng.permutation(300)]
    left = [squared_distance(X + shift, Y) for shift in ([0, 0], [12.0, 0], [12.0, 6.0])]
    assert left == pytest.approx([180.0, 36.0, 0.0], abs=1e-9)
