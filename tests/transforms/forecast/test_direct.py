from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transforms.forecast import direct
from transforms.forecast.direct import cross_fit_direct, fit_direct
from transforms.forecast.empirical import cross_fit_climatology
from transforms.forecast.location_scale import cross_fit_location_scale
from transforms.forecast.select import contiguous_folds
from transforms.forecast.training import TrainingSet
from transforms.scores import pinball_loss

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def rows_of(X: np.ndarray, y: np.ndarray) -> TrainingSet:
    """Return rows to fit on, in four folds."""
    return TrainingSet(X, y, contiguous_folds(np.arange(len(y)), 4), LEVELS, seed=1)


def test_counts_are_forecast_as_counts(rng: np.random.Generator) -> None:
    """No quantile of a counted target lies between two counts."""
    X = rng.uniform(size=(500, 2))
    y = rng.poisson(1 + 5 * X[:, 0]).astype(float)
    quantiles = fit_direct(rows_of(X, y)).quantiles(X)
    np.testing.assert_allclose(quantiles, np.round(quantiles), atol=1e-9)


def test_zeros_are_forecast_where_they_are(rng: np.random.Generator) -> None:
    """Where the target is nearly always zero its median is zero, elsewhere it is not."""
    X = rng.uniform(size=(800, 3))
    y = np.where(X[:, 0] + 0.1 * rng.normal(size=800) > 0.5, rng.lognormal(size=800), 0.0)
    model = fit_direct(rows_of(X, y))
    median = model.quantiles(np.array([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]]))[:, 3]
    assert median[0] == 0
    assert median[1] > 0.5


def test_conditional_quantiles_are_close_to_the_true_ones(rng: np.random.Generator) -> None:
    """On a step with known quantiles the forest finds location and spread."""
    X = rng.uniform(size=(4000, 2))
    y = 10.0 * (X[:, 0] > 0.5) + (1 + (X[:, 0] > 0.5)) * rng.uniform(size=4000)
    model = fit_direct(rows_of(X, y))
    found = model.quantiles(np.array([[0.25, 0.5], [0.75, 0.5]]))
    np.testing.assert_allclose(found, [LEVELS, 10 + 2 * LEVELS], atol=0.15)


def test_categories_are_told_apart(rng: np.random.Generator) -> None:
    """Codes of a category column are split as a set, not by order."""
    code = rng.integers(0, 6, 1200)
    y = np.where(code % 2 == 0, 5.0, 0.0) + rng.normal(size=1200)
    X = code[:, None].astype(float)
    model = fit_direct(replace(rows_of(X, y), categories=(0,)))
    found = model.quantiles(np.arange(6.0)[:, None])
    np.testing.assert_allclose(found[:, 3], np.where(np.arange(6) % 2 == 0, 5, 0), atol=0.7)


def test_each_kind_wins_where_it_should() -> None:
    """Direct beats location-scale on a zero-inflated count; the other way round where smooth."""
    rng = np.random.default_rng(11)
    X = rng.uniform(size=(1200, 4))
    counts = rng.poisson(np.exp(1 + 2 * X[:, 0])) * (rng.uniform(size=1200) < 0.3 + 0.5 * X[:, 1])
    smooth = 8 * np.sin(3 * X[:, 0]) + 4 * X[:, 1] + (0.2 + X[:, 2]) * rng.normal(size=1200)
    for y, better in ((counts.astype(float), "direct"), (smooth, "location_scale")):
        losses = {
            kind: pinball_loss(y, found.quantiles, LEVELS).mean()
            for kind, found in (
                ("direct", cross_fit_direct(rows_of(X, y))),
                ("location_scale", cross_fit_location_scale(rows_of(X, y))),
                ("climatology", cross_fit_climatology(rows_of(X, y))),
            )
        }
        assert min(losses, key=losses.__getitem__) == better


def test_size_of_trees_clearly_behind_on_one_fold_is_not_fitted_on_the_others(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sizes are tried on the first fold, and the fine one is worse on noise."""
    fitted: list[tuple[int, int]] = []

    def counted(training: TrainingSet, size: tuple[int, int]) -> direct.Direct:
        fitted.append(size)
        return fit_direct(training, size)

    monkeypatch.setattr(direct, "fit_direct", counted)
    X, y = rng.normal(size=(3000, 4)), rng.normal(size=3000)
    cross_fit_direct(TrainingSet(X, y, np.arange(3000) % 3, np.array([0.1, 0.5, 0.9])))
    assert fitted == [(128, 20), (1024, 5), (128, 20), (128, 20)]
