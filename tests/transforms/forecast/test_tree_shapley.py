from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.transforms.forecast.shapley_oracle import by_enumeration, grown, intervened
from transforms.forecast.aggregate.cross_fit import aggregate_trials
from transforms.forecast.attributions import AdditiveTrees, additive_part, forecast_median
from transforms.forecast.boosting import NO_TREES, leaves
from transforms.forecast.direct import fit_direct
from transforms.forecast.empirical import Climatology
from transforms.forecast.features import learn_features
from transforms.forecast.fitted import Fitted
from transforms.forecast.kinds import CROSS_FITS
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.training import QuantileModel, TrainingSet

Floats = NDArray[np.float64]
LEVELS = (0.1, 0.5, 0.9)


def hard_table(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Return five columns with interactions, gaps, a category (the last) and codes never seen."""
    X = rng.normal(size=(rows, 5))
    X[:, 4] = rng.integers(0, 6, rows)
    y = X[:, 0] * X[:, 1] + np.where(X[:, 2] > 0, X[:, 0], 1.0) + 2 * (X[:, 4] % 2)
    X[rng.random((rows, 5)) < 0.1] = np.nan
    return X, y


def fitted(model: QuantileModel, features: int) -> Fitted:
    """Return a forecaster of numbers."""
    table = pl.DataFrame({f"x{j}": [0.0] for j in range(features)})
    return Fitted("y", LEVELS, learn_features(table, table.columns), model, {})


def test_interventional_values_are_those_of_every_coalition(rng: np.random.Generator) -> None:
    """With interactions, gaps, a category and codes that the trees have not seen."""
    X, y = hard_table(rng, 600)
    trees = AdditiveTrees((grown(X, y, [4]),), (3.0,), 10.0)
    rows, background = X[:12], X[100:130]
    rows[0, 4], background[0, 4] = 17.0, -1.0
    expected = by_enumeration(intervened(trees.predict, rows, background), 5)
    values, base = trees.interventional_values(rows, background)
    np.testing.assert_allclose(values, expected, atol=1e-10)
    np.testing.assert_allclose(base, trees.predict(background).mean())


def test_values_and_base_add_up_to_the_forecast_over_a_large_background(
    rng: np.random.Generator,
) -> None:
    """Rows are counted by pattern: every background row goes where LightGBM sends it."""
    X, y = hard_table(rng, 3000)
    trees = AdditiveTrees((grown(X, y, [4]),), (3.0,), 10.0)
    for values, base in (
        trees.interventional_values(X[:200], X[200:]),
        trees.path_values(X[:200]),
    ):
        np.testing.assert_allclose(values.sum(axis=1) + base, trees.predict(X[:200]), atol=1e-9)


def test_a_feature_that_no_tree_splits_on_has_the_value_zero(rng: np.random.Generator) -> None:
    """Exactly, however much it is like one that trees do split on; by paths, too."""
    X = rng.normal(size=(500, 2))
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    used = np.column_stack([X[:, 0], np.zeros(500)])
    trees = AdditiveTrees((grown(used, X[:, 0], []),), (1.0,), 0.0)
    for values, _ in (trees.interventional_values(X[:50], X), trees.path_values(X[:50])):
        assert (values[:, 1] == 0).all()
        assert values[:, 0].std() > 0.5


def test_the_forest_s_sum_of_trees_is_the_mean_of_its_distribution(
    rng: np.random.Generator,
) -> None:
    """Each leaf's own rows, averaged over the trees; and values add up to it."""
    X = rng.normal(size=(600, 3))
    y = X[:, 0] + (X[:, 1] > 0) + 0.1 * rng.normal(size=600)
    rows = TrainingSet(X, y, np.zeros(600, np.int64), np.array(LEVELS), seed=1)
    model = fit_direct(rows)
    trees = additive_part(fitted(model, 3))
    assert trees is not None
    found = leaves(model.boosters[0], X)
    means = np.zeros(len(X))
    for tree in range(found.shape[1]):
        own = found[:, tree]
        means += (np.bincount(own, y) / np.maximum(np.bincount(own), 1))[own]
    np.testing.assert_allclose(trees.predict(X), means / found.shape[1], atol=0.03)
    values, base = trees.interventional_values(X[:20], X[:100])
    np.testing.assert_allclose(values.sum(axis=1) + base, trees.predict(X[:20]), atol=1e-9)


def test_the_median_is_the_level_one_half_or_lies_between_its_neighbours() -> None:
    """Linear between levels, the nearest where all are on one side."""
    X = np.zeros((2, 1))
    model = LocationScale((NO_TREES,) * 3, 5.0, 2.0, (-1.0, 0.5, 1.0), (-100.0, 100.0))
    low, middle, high = model.quantiles(X)[0]
    one = fitted(model, 1)
    np.testing.assert_allclose(forecast_median(one, X), middle)
    between = Fitted("y", (0.2, 0.4, 0.6), one.features, model, {})
    np.testing.assert_allclose(forecast_median(between, X), (middle + high) / 2)
    above = Fitted("y", (0.6, 0.7, 0.8), one.features, model, {})
    np.testing.assert_allclose(forecast_median(above, X), low)


def test_a_climatology_has_no_trees() -> None:
    """There is nothing to attribute to features."""
    assert additive_part(fitted(Climatology((1.0, 2.0, 3.0)), 1)) is None


@pytest.mark.parametrize("kind", ["symmetric", "linear", "student_t", "skew_t", "aggregate"])
def test_the_additive_part_of_each_kind_follows_its_median(
    kind: str, rng: np.random.Generator
) -> None:
    """It correlates with the median, and both attributions add up to it and leave out noise."""
    x, code = rng.normal(size=(500, 3)), rng.integers(0, 4, 500)
    x[:, 2] = code
    y = 3 * x[:, 0] + np.array([0.0, 4.0, 1.0, -4.0])[code] + 0.5 * rng.normal(size=500)
    x[::9, 0] = np.nan
    rows = TrainingSet(x, y, np.arange(500) % 2, np.array([0.1, 0.5, 0.9]), categories=(2,))
    trials = {name: CROSS_FITS[name](rows) for name in ("symmetric", "linear")}
    if kind == "aggregate":
        model = aggregate_trials(rows, trials).refit()
    else:
        model = CROSS_FITS[kind](rows).refit()
    assert model.kind == kind
    forecaster = fitted(model, 3)
    trees = additive_part(forecaster)
    assert trees is not None
    sums = trees.predict(x)
    assert np.corrcoef(sums, forecast_median(forecaster, x))[0, 1] > 0.98
    for values, base in (
        trees.path_values(x[:50]),
        trees.interventional_values(x[:50], x[100:200]),
    ):
        np.testing.assert_allclose(values.sum(axis=1) + base, sums[:50], atol=1e-9)
        assert np.abs(values[:, 1]).mean() < 0.1 * np.abs(values[:, 0]).mean()
