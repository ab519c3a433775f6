"""Shapley values from the value of every coalition, and small boosters to attribute."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.boosting import Learner, boost

Floats = NDArray[np.float64]


def grown(X: Floats, y: Floats, categories: list[int], rounds: int = 30) -> str:
    """Return a booster of least squares."""
    learner = Learner(lambda scores: (scores - y, np.ones_like(y)))
    parameters = {"num_leaves": 12, "min_data_in_leaf": 5, "learning_rate": 0.3}
    (text,) = boost(
        X, (learner,), rounds=rounds, categories=categories, seed=1, parameters=parameters
    )
    return text


def by_enumeration(value: Callable[[tuple[int, ...]], Floats], features: int) -> Floats:
    """Return Shapley values from the value of every coalition, shape (rows, features)."""
    known = {
        own: value(own) for k in range(features + 1) for own in combinations(range(features), k)
    }
    found = np.zeros((len(known[()]), features))
    for j in range(features):
        for own, before in known.items():
            if j not in own:
                size = len(own)
                weight = math.factorial(size) * math.factorial(features - size - 1)
                joined = known[tuple(sorted((*own, j)))]
                found[:, j] += weight / math.factorial(features) * (joined - before)
    return found


def intervened(
    predict: Callable[[Floats], Floats], X: Floats, background: Floats
) -> Callable[[tuple[int, ...]], Floats]:
    """Return the mean forecast with some features of each row, the others of the background."""

    def value(own: tuple[int, ...]) -> Floats:
        rows = np.repeat(X, len(background), axis=0)
        others = [j for j in range(X.shape[1]) if j not in own]
        rows[:, others] = np.tile(background, (len(X), 1))[:, others]
        return np.asarray(predict(rows).reshape(len(X), -1).mean(axis=1))

    return value
