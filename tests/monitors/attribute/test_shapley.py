from __future__ import annotations

from itertools import combinations

import numpy as np

from monitors.attribute.shapley import EXACT, PAIRS, shapley
from monitors.encoder import FloatArray


def test_what_two_players_make_together_is_shared_evenly(rng: np.random.Generator) -> None:
    """The glove game: players 0 and 1 are worth 6 together and nothing apart; 2 is worth 1."""

    def value(own: frozenset[int]) -> FloatArray:
        return np.array([6.0 * (own >= {0, 1}) + (2 in own)])

    found, error = shapley(3, value, rng)
    np.testing.assert_allclose(found[:, 0], [3.0, 3.0, 1.0])
    assert not error.any()


def test_every_component_is_divided_on_its_own_and_adds_up(rng: np.random.Generator) -> None:
    """The sum over players is the value of all, in every component."""
    table = {
        frozenset(own): rng.standard_normal(3) * bool(own)
        for size in range(5)
        for own in combinations(range(4), size)
    }
    found, _ = shapley(4, table.__getitem__, rng)
    np.testing.assert_allclose(found.sum(axis=0), table[frozenset(range(4))])


def test_many_players_are_sampled_within_the_error_told(rng: np.random.Generator) -> None:
    """A quadratic game of ten players: φ_i = a_i² + a_i Σ_{j≠i} a_j; the sum is exact."""
    players = EXACT + 2
    a = rng.standard_normal(players)

    def value(own: frozenset[int]) -> FloatArray:
        return np.array([sum(a[i] for i in own) ** 2 + 3.0 * (len(own) >= 5)])

    found, error = shapley(players, value, rng)
    exact = a * a.sum() + 3.0 / players
    assert (error > 0).all()
    assert (np.abs(found[:, 0] - exact) < 5 * error).all()
    np.testing.assert_allclose(found.sum(), a.sum() ** 2 + 3.0)


def test_no_coalition_is_valued_twice(rng: np.random.Generator) -> None:
    """Each valuation may cost a forecast of all rows."""
    asked: list[frozenset[int]] = []

    def value(own: frozenset[int]) -> FloatArray:
        asked.append(own)
        return np.zeros(1)

    shapley(5, value, rng)
    assert len(asked) == 2**5 == len(set(asked))
    asked.clear()
    shapley(12, value, rng)
    assert len(asked) == len(set(asked)) <= 2 * PAIRS * 12 + 1
