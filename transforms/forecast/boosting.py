"""The one place that calls LightGBM: models travel as text, so that they reload bit-equal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.float64]

NO_TREES = ""  # the text of a model that never found a split: 0 everywhere


@dataclass(frozen=True, slots=True)
class Learner:
    """One boosting among those that are grown side by side."""

    #: from its raw scores so far, shape (n,), to gradient and hessian of that shape
    objective: Callable[[Floats], tuple[Floats, Floats]]
    #: whether it grows a tree in this round, counted from 1
    due: Callable[[int], bool] = lambda _: True


def boost(
    X: Floats,
    learners: Sequence[Learner],
    *,
    rounds: int,
    categories: Sequence[int],
    seed: int,
    parameters: dict[str, Any],
    weights: Floats | None = None,
) -> tuple[str, ...]:
    """Grow boostings side by side on one table and return each as text.

    Separate boostings rather than one with several trees a round: a tree that is not due then costs
    nothing. Seeded and deterministic: the same bytes for the same input, on one LightGBM version.
    Weights, shape (n,), multiply each row's gradient and hessian.
    """
    import lightgbm

    settings = {
        "objective": "none",
        "verbose": -1,
        "num_threads": 1,  # more spin while they wait, at many times the CPU on a busy machine
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "seed": seed,
        **parameters,
    }
    data = lightgbm.Dataset(
        X,
        label=np.zeros(len(X)),  # each objective knows its own target
        categorical_feature=list(categories),
        params=settings,
    )
    boosters = [lightgbm.Booster(settings, data) for _ in learners]
    for step in range(1, rounds + 1):
        for booster, learner in zip(boosters, learners, strict=True):
            if learner.due(step):
                booster.update(fobj=_without_data(learner.objective, weights))
    return tuple(b.model_to_string() if b.num_trees() else NO_TREES for b in boosters)


def raw_scores(model: str, X: Floats, trees: int | None = None) -> Floats:
    """Sum of the leaf values of the first trees (all: None), shape (n,)."""
    if model == NO_TREES or trees == 0:
        return np.zeros(len(X))
    scores = _booster(model).predict(X, num_iteration=trees, raw_score=True, num_threads=1)
    return np.asarray(scores, np.float64)


def leaves(model: str, X: Floats) -> NDArray[np.int32]:
    """Return the leaf of each row in each tree, shape (n, trees); all one leaf without trees."""
    if model == NO_TREES:
        return np.zeros((len(X), 1), np.int32)
    found = _booster(model).predict(X, pred_leaf=True, num_threads=1)
    return np.asarray(found, np.int32).reshape(len(X), -1)


def contributions(model: str, X: Floats) -> Floats:
    """Return TreeSHAP's values by the trees' paths, shape (n, features + 1); the base is last."""
    if model == NO_TREES:
        return np.zeros((len(X), X.shape[1] + 1))
    return np.asarray(_booster(model).predict(X, pred_contrib=True, num_threads=1), np.float64)


def tree_structures(model: str) -> list[dict[str, Any]]:
    """Return the root of each tree, as LightGBM dumps it."""
    if model == NO_TREES:
        return []
    return [tree["tree_structure"] for tree in _booster(model).dump_model()["tree_info"]]


def with_leaf_values(model: str, values: Sequence[Floats]) -> str:
    """Return the model with other leaf values, one array for each tree."""
    import lightgbm

    if model == NO_TREES:
        return NO_TREES
    booster = lightgbm.Booster(model_str=model)
    for tree, own in enumerate(values):
        for leaf, value in enumerate(own):
            booster.set_leaf_output(tree, leaf, float(value))
    return str(booster.model_to_string())


def _without_data(
    objective: Callable[[Floats], tuple[Floats, Floats]], weights: Floats | None
) -> Callable[[Floats, Any], tuple[Floats, Floats]]:
    """Return the weighted objective with LightGBM's second argument, its Dataset, left unread."""
    if weights is None:
        return lambda scores, _: objective(scores)

    def weighted(scores: Floats, _: object) -> tuple[Floats, Floats]:
        gradient, hessian = objective(scores)
        return gradient * weights, hessian * weights

    return weighted


@functools.lru_cache(maxsize=64)
def _booster(model: str) -> Booster:
    import lightgbm

    return lightgbm.Booster(model_str=model)
