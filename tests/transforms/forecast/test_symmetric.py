"""Tests of the forecaster of oblivious trees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.transforms.forecast.test_select import NINE, heteroscedastic, loss_of
from transforms.forecast.location_scale import cross_fit_location_scale
from transforms.forecast.select import contiguous_folds
from transforms.forecast.symmetric import cross_fit_symmetric
from transforms.forecast.training import TrainingSet


def test_a_smooth_target_is_forecast_better_than_by_leaf_wise_trees() -> None:
    """On HET the loss is lower than location_scale's, levels do not cross, and coverage holds."""
    train, names = heteroscedastic(3000, 1)
    test, _ = heteroscedastic(3000, 2)
    rows = TrainingSet(
        train[names].to_numpy(), train["y"].to_numpy(), np.arange(3000) % 3, np.array(NINE)
    )
    X, y = test[names].to_numpy(), test["y"].to_numpy()
    fit = cross_fit_symmetric(rows)
    quantiles = fit.refit().quantiles(X)
    leafwise = cross_fit_location_scale(rows).refit().quantiles(X)
    assert loss_of(test, quantiles, NINE) < 0.97 * loss_of(test, leafwise, NINE)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    # out of fold each row is forecast by one member, which is no better than their mean
    inside = (rows.y >= fit.quantiles[:, 0]) & (rows.y <= fit.quantiles[:, -1])
    assert abs(inside.mean() - 0.9) < 4 * np.sqrt(2 * 0.09 / 3000)
    assert np.mean((y >= quantiles[:, 0]) & (y <= quantiles[:, -1])) > 0.9 - 4 * np.sqrt(
        2 * 0.09 / 3000
    )


def test_scale_and_skew_follow_the_features(rng: np.random.Generator) -> None:
    """Wide where the noise is wide, and leaning to the side where the noise leans."""
    X = rng.uniform(size=(3000, 2))
    right = rng.uniform(size=3000) < 0.5
    size = np.abs(rng.normal(size=3000)) * np.where(X[:, 0] > 0.5, 3.0, 1.0)
    lean = np.where((X[:, 1] > 0.5) == right, 2.0, 0.5)
    folds, levels = contiguous_folds(np.arange(3000), 3), np.array([0.05, 0.5, 0.95])
    fit = cross_fit_symmetric(TrainingSet(X, np.where(right, 1, -1) * size * lean, folds, levels))
    q = fit.refit().quantiles(np.array([[0.25, 0.75], [0.75, 0.75], [0.75, 0.25]]))
    width = q[:, 2] - q[:, 0]
    assert 1.6 < width[1] / width[0] < 4
    above, below = q[:, 2] - q[:, 1], q[:, 1] - q[:, 0]
    assert above[1] > 1.4 * below[1]
    assert below[2] > 1.4 * above[2]


def test_heavy_rows_draw_the_forecast(rng: np.random.Generator) -> None:
    """Of two values that features do not tell apart, the median is the heavier one's."""
    high = rng.random(800) < 0.5
    X, y = rng.normal(size=(800, 2)), 10.0 * high + rng.normal(size=800)
    rows = TrainingSet(X, y, np.arange(800) % 2, np.array([0.1, 0.5, 0.9]))
    heavy = replace(rows, weights=np.where(high, 6.0, 1.0))
    assert cross_fit_symmetric(heavy).refit().quantiles(X)[:, 1].mean() > 7.5
