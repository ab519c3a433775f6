"""The one place that calls LightGBM: models travel as text, so that they reload bit-equal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.float64]
#: From the raw scores so far, shape (n,) or (n, classes), to gradient and hessian of that shape.
Objective = Callable[[Floats], tuple[Floats, Floats]]


def boost(
    X: Floats,
    objective: Objective,
    *,
    rounds: int,
    categories: Sequence[int],
    seed: int,
    parameters: dict[str, Any],
) -> str:
    """Grow `rounds` rounds of trees for an objective of ours and return the model as text.

    Seeded and deterministic: the same bytes for the same input, on one version of LightGBM.
    """
    import lightgbm

    settings = {
        "objective": lambda scores, _: objective(scores),
        "verbose": -1,
        "num_threads": 1,  # more spin while they wait, at many times the CPU on a busy machine
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        **parameters,
    }
    data = lightgbm.Dataset(
        X,
        label=np.zeros(len(X)),  # the objective knows its own target
        categorical_feature=list(categories),
        params={"verbose": -1, "feature_pre_filter": False},
    )
    return lightgbm.train(settings, data, num_boost_round=rounds).model_to_string()


def shorten(model: str, rounds: int) -> str:
    """Return the model cut after its first rounds."""
    return _booster(model).model_to_string(num_iteration=rounds)


def raw_scores(model: str, X: Floats, rounds: int | None = None) -> Floats:
    """Sum of the leaf values of the first rounds (all: None), shape (n,) or (n, classes)."""
    return np.asarray(
        _booster(model).predict(X, num_iteration=rounds, raw_score=True, num_threads=1),
        np.float64,
    )


def leaves(model: str, X: Floats) -> NDArray[np.int32]:
    """Return the leaf of each row in each tree, shape (n, trees)."""
    return np.asarray(_booster(model).predict(X, pred_leaf=True, num_threads=1), np.int32)


@functools.lru_cache(maxsize=64)
def _booster(model: str) -> Booster:
    import lightgbm

    return lightgbm.Booster(model_str=model)
