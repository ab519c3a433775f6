from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

from monitors.attribute.conditional_sampler import GaussianCopula, fit_copula
from monitors.attribute.feature_values import Kind, feature_values
from monitors.attribute.permutation_values import (
    PAIRS,
    from_background,
    from_copula,
    linear_values,
    sampled_values,
)
from schemas.errors import ReferenceDataError
from tests.transforms.forecast.shapley_oracle import by_enumeration, grown, intervened
from transforms.forecast.direct import fit_direct
from transforms.forecast.empirical import Climatology
from transforms.forecast.features import learn_features
from transforms.forecast.fitted import Fitted
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.training import QuantileModel, TrainingSet

Floats = NDArray[np.float64]
LEVELS = (0.1, 0.5, 0.9)
LIMITS = (-1e6, 1e6)


def frame(X: Floats) -> pl.DataFrame:
    """Return columns x0, x1 and so on."""
    return pl.DataFrame({f"x{j}": X[:, j] for j in range(X.shape[1])})


def forecaster(model: QuantileModel, features: int) -> Fitted:
    """Return a forecaster of numbers x0, x1 and so on."""
    names = [f"x{j}" for j in range(features)]
    return Fitted("y", LEVELS, learn_features(frame(np.zeros((1, features))), names), model, {})


def location_scale(X: Floats, location: Floats, log_scale: Floats, rounds: int = 60) -> Fitted:
    """Return a forecaster whose median is its location and half a scale."""
    boosters = (grown(X, location, [], rounds), grown(X, log_scale, [], rounds), "")
    model = LocationScale(boosters, 1.0, 2.0, (-1.0, 0.5, 2.0), LIMITS)
    return forecaster(model, X.shape[1])


def gaussian(rng: np.random.Generator, rows: int, rho: float = 0.9) -> Floats:
    """Return two correlated columns and an independent one."""
    X = rng.normal(size=(rows, 3))
    X[:, 1] = rho * X[:, 0] + np.sqrt(1 - rho**2) * X[:, 1]
    return X


def conditional(correlation: Floats, own: tuple[int, ...]) -> Floats:
    """Return the matrix that takes scores to their conditional means given some of them."""
    d = len(correlation)
    found = np.zeros((d, d))
    if own:
        index = list(own)
        found[:, index] = correlation[:, index] @ np.linalg.inv(correlation[np.ix_(index, index)])
    return found


def test_a_median_of_location_and_scale_has_the_values_of_every_coalition(
    rng: np.random.Generator,
) -> None:
    """The trees' part is exact; what is sampled is off by no more than the error that is told."""
    X = rng.normal(size=(400, 4))
    model = location_scale(X, X[:, 0] * X[:, 1] + X[:, 2], 0.5 * X[:, 3] * (X[:, 0] > 0))
    rows, background = X[:25], X[100:140]

    def median(matrix: Floats) -> Floats:
        return np.asarray(model.predict(frame(matrix))[:, 1])

    expected = by_enumeration(intervened(median, rows, background), 4)
    found = feature_values(model, frame(rows), frame(background), unit="°F")
    off = float(np.sqrt(((found.values - expected) ** 2).mean()))
    assert 0.5 * found.error < off < 1.5 * found.error
    assert off < 0.05 * expected.std()
    assert (found.names, found.unit) == (("x0", "x1", "x2", "x3"), "°F")
    np.testing.assert_allclose(found.base, median(background).mean())


@pytest.mark.parametrize("kind", ["interventional", "observational", "path"])
def test_values_and_base_add_up_to_the_median(rng: np.random.Generator, kind: Kind) -> None:
    """Of every row; by paths but for the scale's part of the median."""
    X = gaussian(rng, 500)
    model = location_scale(X, X[:, 0] + X[:, 2], 0.01 * X[:, 1])
    found = feature_values(model, frame(X[:40]), frame(X), kind)
    tolerance = 4 * found.error if kind == "path" else 1e-9
    np.testing.assert_allclose(
        found.values.sum(axis=1) + found.base, model.predict(frame(X[:40]))[:, 1], atol=tolerance
    )
    assert found.error < 0.1


def test_a_feature_the_model_ignores_has_an_observational_value_only(
    rng: np.random.Generator,
) -> None:
    """Of a correlated pair, the model reads one: Chen et al. (2020), the linear case.

    With f = x0 and correlation ρ, v(1) = ρ x1, so that φ1 = ρ x1 / 2 and φ0 = x0 − ρ x1 / 2.
    """
    X, rho = gaussian(rng, 4000), 0.9
    used = X * [1.0, 0.0, 0.0]
    model = location_scale(used, X[:, 0] / 2.0, np.zeros(len(X)), rounds=80)
    rows, background = frame(X[:60]), frame(X[1000:])
    model_s = feature_values(model, rows, background).values
    data_s = feature_values(model, rows, background, "observational").values
    paths = feature_values(model, rows, background, "path").values
    assert (model_s[:, 1:] == 0).all()
    assert (paths[:, 1:] == 0).all()
    np.testing.assert_allclose(model_s[:, 0], X[:60, 0], atol=0.4)
    np.testing.assert_allclose(data_s[:, 1], rho / 2 * X[:60, 1], atol=0.25)
    np.testing.assert_allclose(data_s[:, 0], X[:60, 0] - rho / 2 * X[:60, 1], atol=0.5)
    assert np.abs(data_s[:, 2]).max() < 0.3


def test_sampled_values_of_a_linear_function_are_its_closed_form(
    rng: np.random.Generator,
) -> None:
    """β (x − E x) over the background, as far off as the standard errors say."""
    X, background = rng.normal(size=(200, 5)), rng.normal(size=(50, 5))
    slopes = np.array([1.0, -2.0, 0.0, 0.5, 3.0])
    found = sampled_values(lambda rows: rows @ slopes, from_background(X, background), (200, 5), 1)
    expected = slopes * (X - background.mean(axis=0))
    used = slopes != 0
    z = (found.values - expected)[:, used] / np.sqrt(found.variance[:, used])
    assert z.std() == pytest.approx(stats.t(PAIRS - 1).std(), rel=0.1)
    assert (found.values[:, ~used] == 0).all()
    fixed = found.adding_up_to(X @ slopes)
    np.testing.assert_allclose(fixed.sum(axis=1) + found.base, X @ slopes)
    assert (fixed[:, ~used] == 0).all()


def test_linear_values_of_a_copula_are_those_of_all_orders(rng: np.random.Generator) -> None:
    """φ = A x with A the mean over the orders of what each feature adds to β' E[x | x_S]."""
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T
    spread = np.sqrt(np.diag(covariance))
    copula = GaussianCopula((), {}, covariance / np.outer(spread, spread))
    slopes, scores = np.array([1.0, 0.0, -2.0, 0.5]), rng.normal(size=(100, 4))
    matrix = np.zeros((4, 4))
    orders = list(permutations(range(4)))
    for order in orders:
        for k, j in enumerate(order):
            gain = conditional(copula.correlation, order[: k + 1])
            gain -= conditional(copula.correlation, order[:k])
            matrix[j] += slopes @ gain / len(orders)
    found = linear_values(slopes, scores, copula, 1)
    z = (found.values - scores @ matrix.T) / np.sqrt(found.variance)
    assert np.abs(z).max() < 5
    assert np.sqrt(found.variance.mean()) < 0.05 * found.values.std()
    np.testing.assert_allclose(found.values.sum(axis=1), scores @ slopes)


def test_draws_of_a_copula_are_conditional_on_what_is_known(rng: np.random.Generator) -> None:
    """Values of a quadratic function, from the closed form of its conditional means."""
    X = gaussian(rng, 5000, rho=0.8)
    copula = fit_copula(X, X[:, 0])
    rows = X[:100]
    scores = copula.scores(rows)
    r = copula.correlation

    def value(own: tuple[int, ...]) -> Floats:
        matrix = conditional(r, own)
        left = (r - matrix @ r @ matrix.T)[1, 1]
        return np.asarray((scores @ matrix.T)[:, 1] ** 2 + left)

    found = sampled_values(
        lambda both: both[:, 4] ** 2, from_copula(rows, scores, copula), rows.shape, 1, pairs=64
    )
    z = (found.values - by_enumeration(value, 3)) / np.sqrt(found.variance)
    assert z.std() == pytest.approx(1.0, abs=0.25)
    assert found.base == pytest.approx(1.0, abs=0.05)


def test_a_copula_knows_ties_gaps_and_categories(rng: np.random.Generator) -> None:
    """Draws hold the reference's values only, and its dependence; gaps do not hide it."""
    X = gaussian(rng, 3000)
    code = np.digitize(X[:, 0], [-0.5, 0.5]).astype(float)
    X = np.column_stack(
        [np.maximum(X[:, 0], 0.0), X[:, 1], np.array([2.0, np.nan, 0.0])[code.astype(int)]]
    )
    X[rng.random(3000) < 0.2, 1] = np.nan
    copula = fit_copula(X, code, [2])
    np.testing.assert_array_equal(copula.levels[2], [2.0, np.nan, 0.0])
    assert copula.correlation[0, 1] > 0.65
    assert copula.correlation[1, 2] > 0.65
    drawn = copula.rows(rng.normal(size=(2000, 3)))
    assert np.isin(drawn[:, :2], X[:, :2]).all()
    assert (drawn[:, 0] == 0).mean() == pytest.approx((X[:, 0] == 0).mean(), abs=0.05)
    assert np.isnan(drawn[:, 2]).mean() == pytest.approx(np.isnan(X[:, 2]).mean(), abs=0.05)
    assert np.isfinite(copula.scores(X[:50])).all()


def test_a_forest_is_attributed_too(rng: np.random.Generator) -> None:
    """Its median is no sum of trees; values add up to it, and follow what it follows."""
    X = gaussian(rng, 600)
    y = 3.0 * X[:, 2] + 0.1 * rng.normal(size=600)
    rows = TrainingSet(X, y, np.zeros(600, np.int64), np.array(LEVELS), seed=1)
    model = forecaster(fit_direct(rows), 3)
    found = feature_values(model, frame(X[:20]), frame(X[300:]))
    np.testing.assert_allclose(
        found.values.sum(axis=1) + found.base, model.predict(frame(X[:20]))[:, 1]
    )
    size = np.abs(found.values).mean(axis=0)
    assert size[2] > 5 * size[:2].max()
    assert 0 < found.error < 0.5


def test_nothing_is_attributed_to_the_features_of_a_climatology() -> None:
    """Its forecast is the base."""
    model = forecaster(Climatology((1.0, 2.0, 3.0)), 2)
    found = feature_values(model, frame(np.zeros((3, 2))), frame(np.zeros((1, 2))))
    assert (found.values == 0).all()
    assert (found.values.shape, found.base, found.error) == ((3, 2), 2.0, 0.0)


def test_without_rows_of_the_reference_the_user_is_told_what_to_do(
    rng: np.random.Generator,
) -> None:
    """But paths need none."""
    X = gaussian(rng, 200)
    model = location_scale(X, X[:, 0], np.zeros(200))
    with pytest.raises(ReferenceDataError, match="explain"):
        feature_values(model, frame(X), frame(X[:0]))
    assert len(feature_values(model, frame(X), frame(X[:0]), "path").values) == len(X)
    assert len(feature_values(model, frame(X[:0]), frame(X)).values) == 0
