from __future__ import annotations

import numpy as np

from transforms.calibrate.cqr import calibrate
from transforms.calibrate.cv_plus import cv_plus, out_of_fold_scores


def test_ends_are_the_ranks_of_the_definition(rng: np.random.Generator) -> None:
    """Row by row, the ⌊α(n + 1)⌋-th smallest below and the ⌈(1 − α)(n + 1)⌉-th above."""
    n, folds = 49, np.arange(49) % 3
    scores, middle = rng.normal(size=n), rng.normal(size=(3, 7))
    lower, upper = cv_plus(middle - 5, middle + 5, scores, folds, 0.8)
    for j in range(7):
        below = np.sort(middle[folds, j] - 5 - scores)
        above = np.sort(middle[folds, j] + 5 + scores)
        assert (lower[j], upper[j]) == (below[10 - 1], above[40 - 1])


def test_models_that_agree_give_split_conformal(rng: np.random.Generator) -> None:
    """Where all folds say the same, CV+ is CQR of the same scores."""
    y = rng.normal(size=99)
    found = calibrate(np.full(99, -1.0), np.ones(99), y, 0.9)
    scores = out_of_fold_scores(np.full(99, -1.0), np.ones(99), y)
    ends = cv_plus(np.full((5, 1), -1.0), np.ones((5, 1)), scores, np.arange(99) % 5, 0.9)
    assert [end[0] for end in ends] == [-1 - found.offset, 1 + found.offset]


def test_coverage_holds_with_models_of_few_rows(rng: np.random.Generator) -> None:
    """Ends ±½ around a mean of 16 rows: 90 % are held, by models that differ from each other."""
    held = 0
    for _ in range(1500):
        y, folds = rng.normal(size=20), np.arange(20) % 5
        means = np.array([y[folds != k].mean() for k in range(5)])
        scores = out_of_fold_scores(means[folds] - 0.5, means[folds] + 0.5, y)
        lower, upper = cv_plus(means[:, None] - 0.5, means[:, None] + 0.5, scores, folds, 0.9)
        held += lower[0] <= rng.normal() <= upper[0]
    # nominal .9; with n = 20 the rank ⌈18.9⌉ = 19 of 21 gives .905, the models' spread adds little
    assert abs(held / 1500 - 0.905) < 0.01 + 3.5 * np.sqrt(0.09 / 1500)


def test_too_few_rows_give_infinite_ends() -> None:
    """At 90 %, eight known outcomes bound nothing, and missing ones do not count."""
    scores = np.array([*np.ones(8), np.nan, np.nan])
    lower, upper = cv_plus(np.zeros((2, 3)), np.ones((2, 3)), scores, np.arange(10) % 2, 0.9)
    assert np.isneginf(lower).all()
    assert np.isposinf(upper).all()
