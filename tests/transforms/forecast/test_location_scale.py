from __future__ import annotations

import numpy as np

from transforms.forecast.location_scale import cross_fit_location_scale
from transforms.forecast.select import contiguous_folds
from transforms.forecast.training import TrainingSet

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def test_scale_and_skew_follow_the_features() -> None:
    """Wide where the noise is wide, and leaning to the side where the noise leans."""
    rng = np.random.default_rng(2)
    X = rng.uniform(size=(3000, 2))
    size = np.abs(rng.normal(size=3000)) * np.where(X[:, 0] > 0.5, 3.0, 1.0)
    right = rng.uniform(size=3000) < 0.5
    lean = np.where(X[:, 1] > 0.5, np.where(right, 2.0, 0.5), np.where(right, 0.5, 2.0))
    y = np.where(right, 1, -1) * size * lean
    folds = contiguous_folds(np.arange(3000), 3)
    fit = cross_fit_location_scale(TrainingSet(X, y, folds, LEVELS, seed=1))
    q = fit.refit().quantiles(np.array([[0.25, 0.75], [0.75, 0.75], [0.75, 0.25]]))
    width = q[:, 4] - q[:, 0]
    assert 1.6 < width[1] / width[0] < 4
    above, below = q[:, 4] - q[:, 2], q[:, 2] - q[:, 0]
    assert above[1] > 1.4 * below[1]
    assert below[2] > 1.4 * above[2]


def test_residuals_out_of_fold_keep_few_rows_covered() -> None:
    """On 200 rows of six features the 90 % interval of new rows covers about 90 %."""
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(6):
        X = rng.normal(size=(1200, 6))
        y = X[:, 0] + rng.normal(size=1200)
        folds = contiguous_folds(np.arange(200), 5)
        fit = cross_fit_location_scale(TrainingSet(X[:200], y[:200], folds, LEVELS, seed=1))
        q = fit.refit().quantiles(X[200:])
        inside.append(np.mean((y[200:] >= q[:, 0]) & (y[200:] <= q[:, -1])))
    # six fits, each with the error of quantiles from 200 dependent residuals
    assert abs(np.mean(inside) - 0.9) < 4 * np.sqrt(0.09 / 200 / 6)
