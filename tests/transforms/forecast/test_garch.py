from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from schemas.errors import StreamFileError
from transforms.forecast.garch import (
    Garch,
    Innovations,
    Recursion,
    _start,
    cross_fit_garch,
    fit_garch,
)
from transforms.forecast.training import TrainingSet

arch = pytest.importorskip("arch")

LEVELS = np.array([0.01, 0.05, 0.5, 0.95, 0.99])
STEPS = 150
LAGS = tuple((back, back - 1) for back in range(1, STEPS + 1))


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    """Return 900 rows of a GJR series with normal innovations, in a unit of 3 from 1."""
    rng = np.random.default_rng(3)
    n = 900 + STEPS
    y, variance = np.zeros(n), 1.0
    for t in range(1, n):
        variance = 0.05 + (0.02 + 0.2 * (y[t - 1] < 0)) * y[t - 1] ** 2 + 0.83 * variance
        y[t] = np.sqrt(variance) * rng.normal()
    y = 1 + 3 * y
    X = np.column_stack([y[STEPS - back : -back] for back in range(1, STEPS + 1)])
    names = tuple(f"lag_{back}" for back in range(1, STEPS + 1))
    return TrainingSet(X, y[STEPS:], np.arange(900) * 2 // 900, LEVELS, names)


def in_arch(fitted: Garch, series: np.ndarray) -> np.ndarray:
    """Return arch's conditional volatility of a series with a fit's parameters."""
    omega, alpha, gamma, beta = fitted.recursive
    o = int(fitted.recursion != "garch")
    shape = fitted.shape[:1] if fitted.innovations == "t" else fitted.shape
    model = arch.arch_model(
        (series - fitted.centre) / fitted.unit,
        vol="EGARCH" if fitted.recursion == "egarch" else "GARCH",
        o=o,
        dist=fitted.innovations,
        rescale=False,
    )
    found = model.fix([fitted.mu, omega, alpha, *([gamma] * o), beta, *shape])
    return np.asarray(found.conditional_volatility) * fitted.unit


@pytest.mark.parametrize(
    ("recursion", "innovations"), [("gjr", "skewt"), ("garch", "t"), ("egarch", "normal")]
)
def test_scale_of_a_row_is_what_arch_says_of_its_lags(
    training: TrainingSet, recursion: Recursion, innovations: Innovations
) -> None:
    """A row's lags as a series of their own give the next conditional volatility."""
    fitted = fit_garch(training, LAGS, 1, recursion, innovations)
    scale = fitted.parameters(training.X[:5])["scale"]
    expected = [in_arch(fitted, np.append(row[::-1], fitted.centre))[-1] for row in training.X[:5]]
    # arch keeps the variance of EGARCH within bounds of its own, in steps of rounding
    np.testing.assert_allclose(scale, expected, rtol=1e-4 if recursion == "egarch" else 1e-7)


def test_the_variance_before_the_first_lag_is_that_of_arch(rng: np.random.Generator) -> None:
    """Of whole pasts; shocks that are not known count as 1."""
    shocks = rng.normal(size=(3, 100))
    expected = [arch.univariate.GARCH().backcast(row) for row in shocks]
    np.testing.assert_allclose(_start(shocks)[2], expected)
    shocks[:, :99] = np.nan
    own = 0.06 / (1 - 0.94**75)
    np.testing.assert_allclose(_start(shocks)[2], own * shocks[:, 99] ** 2 + 1 - own)


def test_quantiles_are_those_of_arch(training: TrainingSet) -> None:
    """Location, scale and innovations together, at each level."""
    fitted = fit_garch(training, LAGS, 1)
    standard = arch.univariate.SkewStudent().ppf(LEVELS, np.array(fitted.shape))
    law = fitted.parameters(training.X)
    expected = law["loc"][:, None] + law["scale"][:, None] * standard
    np.testing.assert_allclose(fitted.quantiles(training.X), expected, rtol=1e-6)


def test_an_unknown_lag_counts_as_its_expectation(training: TrainingSet) -> None:
    """Without the last value, the scale is between those after a calm and a wild one."""
    fitted = fit_garch(training, LAGS, 1)
    X = np.repeat(training.X[:1], 3, axis=0)
    X[:, 0] = fitted.centre, np.nan, fitted.centre - 5 * fitted.unit
    calm, unknown, wild = fitted.parameters(X)["scale"]
    assert calm < unknown < wild
    nothing = fitted.parameters(np.full((1, STEPS), np.nan))["scale"]
    np.testing.assert_allclose(nothing, fitted.unit)


def test_the_choice_is_by_log_score_and_reads_back(training: TrainingSet) -> None:
    """Leverage is seen: not `garch`; its forecasts come back bit-equal from JSON."""
    fit = cross_fit_garch(training)
    fitted = fit.refit()
    assert isinstance(fitted, Garch)
    assert fitted.recursion != "garch"
    below = (training.y[:, None] < fit.quantiles).mean(axis=0)
    assert np.all(np.abs(below - LEVELS) < 4 * np.sqrt(LEVELS * (1 - LEVELS) / len(training.y)))
    again = Garch.from_dict(json.loads(json.dumps(fitted.to_dict())), ())
    np.testing.assert_array_equal(again.quantiles(training.X), fitted.quantiles(training.X))


def test_every_third_row_gives_the_fit_of_the_series(training: TrainingSet) -> None:
    """A thinned table is put together again from its lags."""
    every = training.take(np.arange(0, 900, 3))
    np.testing.assert_allclose(
        fit_garch(every, LAGS, 3, "garch", "normal").parameters(training.X)["scale"],
        fit_garch(training, LAGS, 1, "garch", "normal").parameters(training.X)["scale"],
        rtol=0.03,  # two more rows before the first, two fewer at the end
    )


def test_a_fold_without_any_move_is_forecast() -> None:
    """Where all rows but those of one fold are alike."""
    y = np.zeros(200)
    y[110:190:7] = np.linspace(-2, 2, 12)
    X = np.column_stack([np.roll(y, back) for back in (1, 2, 3)])
    names = ("lag_1", "lag_2", "lag_3")
    fit = cross_fit_garch(TrainingSet(X, y, np.arange(200) * 2 // 200, LEVELS, names))
    assert np.isfinite(fit.quantiles).all()


def test_rows_that_are_no_series_are_refused(training: TrainingSet) -> None:
    """Shuffled rows do not follow each other; the error names the model that takes them."""
    shuffled = training.take(np.random.default_rng(0).permutation(900))
    with pytest.raises(StreamFileError, match="`har`"):
        cross_fit_garch(shuffled)


def test_without_arch_the_extra_is_named(
    training: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StreamFileError, match=r"tidegauge\[garch\]"):
        cross_fit_garch(training)
