"""Shapley values of a set function whose values are vectors.

The value of a player is its mean contribution over all orders in which the players may join
(Shapley 1953). All coalitions are valued while they are few; else orders are drawn, each with its
reverse (antithetic sampling: Mitchell, Cooper, Frank and Holmes, JMLR 2022, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

from monitors.encoder import FloatArray

EXACT = 8  # players: 256 coalitions
PAIRS = 32  # of orders


def shapley(
    players: int, value: Callable[[frozenset[int]], FloatArray], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the players' values, and the standard error of sampling of their first components.

    Parameters
    ----------
    value : the value of a coalition, shape (d,); that of the empty one is 0.

    Returns
    -------
    values : FloatArray, shape (players, d)
    error : FloatArray, shape (players,)
        0 where all coalitions were valued.
    """
    known: dict[frozenset[int], FloatArray] = {}

    def cached(coalition: frozenset[int]) -> FloatArray:
        if coalition not in known:
            known[coalition] = value(coalition)
        return known[coalition]

    if players <= EXACT:
        return _exact(players, cached), np.zeros(players)
    pairs = []
    for _ in range(PAIRS):
        order = rng.permutation(players)
        pairs.append(0.5 * (_along(order, cached) + _along(order[::-1], cached)))
    drawn = np.stack(pairs)
    return drawn.mean(axis=0), drawn[:, :, 0].std(axis=0, ddof=1) / np.sqrt(PAIRS)


def _exact(players: int, value: Callable[[frozenset[int]], FloatArray]) -> FloatArray:
    share = [
        factorial(size) * factorial(players - size - 1) / factorial(players)
        for size in range(players)
    ]
    rows = []
    for player in range(players):
        others = [other for other in range(players) if other != player]
        rows.append(
            sum(
                share[size] * (value(frozenset((*chosen, player))) - value(frozenset(chosen)))
                for size in range(players)
                for chosen in combinations(others, size)
            )
        )
    return np.asarray(rows, dtype=np.float64)


def _along(order: np.ndarray, value: Callable[[frozenset[int]], FloatArray]) -> FloatArray:
    """Return what each player adds as they join in this order."""
    before = value(frozenset())
    added = np.empty((len(order), len(before)))
    for place, player in enumerate(order):
        after = value(frozenset(order[: place + 1].tolist()))
        added[player] = after - before
        before = after
    return added
