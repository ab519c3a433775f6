from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import optimize

from transforms.distributions import hansen
from transforms.forecast import har
from transforms.forecast.har import Har, cross_fit_har, fit_har
from transforms.forecast.training import TrainingSet

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
STEPS = 44
NAMES = tuple(f"lag_{back}" for back in range(1, STEPS + 1))
LAGS = tuple((back, back - 1) for back in range(1, STEPS + 1))


def garch_rows(rng: np.random.Generator, n: int) -> tuple[TrainingSet, np.ndarray]:
    """Return rows of a GJR series with leverage, and their true standard deviations."""
    y, sigma = np.zeros(n + STEPS), np.ones(n + STEPS)
    noise = rng.standard_t(8, size=n + STEPS) * np.sqrt(6 / 8)
    for t in range(1, n + STEPS):
        square = (0.03 + 0.12 * (y[t - 1] < 0)) * y[t - 1] ** 2
        sigma[t] = np.sqrt(0.04 + square + 0.87 * sigma[t - 1] ** 2)
        y[t] = sigma[t] * noise[t]
    X = np.column_stack([y[STEPS - back : -back] for back in range(1, STEPS + 1)])
    folds = np.arange(n) * 4 // n
    return TrainingSet(X, 2 + 5 * y[STEPS:], folds, LEVELS, NAMES), 5 * sigma[STEPS:]


@pytest.fixture
def garch(rng: np.random.Generator) -> tuple[TrainingSet, np.ndarray]:
    """Return 3,000 rows: mean 2, unit 5."""
    training, sigma = garch_rows(rng, 3000)
    return TrainingSet(
        2 + 5 * training.X, training.y, training.folds, LEVELS, training.names
    ), sigma


def test_scale_follows_the_true_volatility(garch: tuple[TrainingSet, np.ndarray]) -> None:
    """Out of sample it comes close to a GARCH process that is not of its own form."""
    training, sigma = garch
    fitted = fit_har(training.take(np.arange(2000)), LAGS)
    law = fitted.parameters(training.X[2000:])
    ratio = np.log(law["scale"] / sigma[2000:])
    assert np.corrcoef(np.log(law["scale"]), np.log(sigma[2000:]))[0, 1] > 0.9
    assert np.std(ratio) < 0.15 < np.std(np.log(sigma[2000:]))
    assert abs(np.mean(ratio)) < 0.1
    assert 2 < fitted.shape[0] < 30


def test_a_fall_raises_the_scale_more_than_a_rise(garch: tuple[TrainingSet, np.ndarray]) -> None:
    """Leverage is learnt: the same move down and up are told apart."""
    fitted = fit_har(garch[0], LAGS)
    last = np.full((2, STEPS), 2.0)
    last[:, 0] = 2 - 10, 2 + 10
    fall, rise = fitted.parameters(last)["scale"]
    assert fall > 1.1 * rise


def test_out_of_fold_quantiles_hold_their_levels(garch: tuple[TrainingSet, np.ndarray]) -> None:
    """Each level within four standard errors of its share of 3,000 rows."""
    training, _ = garch
    below = (training.y[:, None] < cross_fit_har(training).quantiles).mean(axis=0)
    assert np.all(np.abs(below - LEVELS) < 4 * np.sqrt(LEVELS * (1 - LEVELS) / len(training.y)))


def test_gradient_is_that_of_the_loss(rng: np.random.Generator) -> None:
    """Against differences, at a point where nothing is 0, with weights."""
    y, terms = rng.normal(size=200), har._terms(rng.normal(size=(200, 30)))
    weights = rng.uniform(0.5, 2.0, size=200)
    theta = np.concatenate([[0.2], rng.normal(scale=0.3, size=terms.shape[1]), [1.2, -0.3]])

    def value(point: np.ndarray) -> float:
        return har._loss(point, y, terms, weights)[0]

    expected = optimize.approx_fprime(theta, value, 1e-6)
    np.testing.assert_allclose(har._loss(theta, y, terms, weights)[1], expected, atol=1e-5)


def test_missing_lags_leave_a_forecast(garch: tuple[TrainingSet, np.ndarray]) -> None:
    """Without any past the scale is that of the longest run of all: finite, near the deviation."""
    training, _ = garch
    fitted = fit_har(training, LAGS)
    X = np.full((2, STEPS), np.nan)
    X[1, :3] = training.X[0, :3]
    assert np.isfinite(fitted.quantiles(X)).all()
    assert 0.5 < fitted.parameters(X)["scale"][0] / training.y.std() < 1.5


def test_few_rows_and_extremes_stay_finite(rng: np.random.Generator) -> None:
    """Fifty rows with one of a thousand deviations are fitted, and quantiles do not cross."""
    training, _ = garch_rows(rng, 50)
    training.y[7] = 1e4
    q = cross_fit_har(training).quantiles
    assert np.isfinite(q).all()
    assert np.all(np.diff(q, axis=1) >= 0)


def test_a_fold_without_any_move_is_forecast(rng: np.random.Generator) -> None:
    """Where all rows but those of one fold are alike."""
    training, _ = garch_rows(rng, 200)
    training.y[training.folds > 0] = 0.0
    assert np.isfinite(cross_fit_har(training).quantiles).all()


def test_unit_and_weights_are_respected(garch: tuple[TrainingSet, np.ndarray]) -> None:
    """In another unit the same forecast; a row of weight 2 counts as one given twice."""
    training = garch[0].take(np.arange(400))
    q = fit_har(training, LAGS).quantiles(training.X[:9])
    moved = TrainingSet(
        -3 + 100 * training.X, -3 + 100 * training.y, training.folds, LEVELS, training.names
    )
    np.testing.assert_allclose(
        fit_har(moved, LAGS).quantiles(moved.X[:9]), -3 + 100 * q, rtol=1e-3, atol=1e-2
    )
    theta = np.concatenate([[0.1], har._PRIOR, [1.5, 0.1]])
    terms = har._terms(training.X)
    counts = np.where(np.arange(400) < 100, 2.0, 1.0)
    twice = np.repeat(np.arange(400), counts.astype(int))
    weighted = har._loss(theta, training.y, terms, counts)
    repeated = har._loss(theta, training.y[twice], terms[twice], np.ones(500))
    assert weighted[0] == pytest.approx(repeated[0])
    np.testing.assert_allclose(weighted[1], repeated[1], atol=1e-9)


def test_reads_back_bit_equal(garch: tuple[TrainingSet, np.ndarray]) -> None:
    """Through JSON, the same quantiles to the last bit, and those of its law."""
    training = garch[0].take(np.arange(300))
    fitted = fit_har(training, LAGS)
    again = Har.from_dict(json.loads(json.dumps(fitted.to_dict())), ())
    q = fitted.quantiles(training.X)
    np.testing.assert_array_equal(again.quantiles(training.X), q)
    law = [part[:, None] for part in fitted.parameters(training.X).values()]
    np.testing.assert_allclose(q, hansen.quantile(LEVELS, *law), rtol=1e-12, atol=1e-12)


def test_a_row_has_the_same_forecast_whatever_rows_are_beside_it(
    rng: np.random.Generator,
) -> None:
    """Bit by bit, so that files may be cut anywhere."""
    X = rng.normal(size=(200, 22))
    X[rng.random(X.shape) < 0.3] = np.nan
    levels = np.array([0.1, 0.5, 0.9])
    training = TrainingSet(X, rng.normal(size=200), np.zeros(200, np.int64), levels)
    model = fit_har(training, tuple((back, back - 1) for back in range(1, 23)))
    alone = np.concatenate([model.quantiles(X[i : i + 1]) for i in range(200)])
    np.testing.assert_array_equal(alone, model.quantiles(X))
