"""Tests of linear quantile regression and of what it stands on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtri

from transforms.forecast import linear
from transforms.forecast.design import Design, learn_design
from transforms.forecast.linear import Linear, cross_fit_linear, fit_linear
from transforms.forecast.smooth_pinball import smooth_pinball
from transforms.forecast.training import TrainingSet
from transforms.scores import pinball_loss

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def rows_of(X: np.ndarray, y: np.ndarray) -> TrainingSet:
    """Return rows to fit on, in four folds."""
    return TrainingSet(X, y, np.arange(len(y)) % 4, LEVELS)


@given(error=arrays(np.float64, (3, 7), elements=st.floats(-5, 5)), width=st.floats(0.01, 2))
def test_rounded_loss_is_close_to_the_pinball_loss(error: np.ndarray, width: float) -> None:
    """It lies above it by at most a quarter of the width, and its slope is its derivative."""
    loss, slope = smooth_pinball(error, LEVELS, width)
    sharp = np.maximum(LEVELS * error, (LEVELS - 1) * error)
    assert (loss >= sharp - 1e-12).all()
    assert (loss <= sharp + width / 4 + 1e-12).all()
    step = 1e-6
    above, below = (smooth_pinball(error + s, LEVELS, width)[0] for s in (step, -step))
    np.testing.assert_allclose(slope, (above - below) / (2 * step), atol=step / width + 1e-6)


def test_design_is_finite_whatever_the_features(rng: np.random.Generator) -> None:
    """Gaps, endless values, outliers, constants and unseen categories give bounded columns."""
    X = rng.standard_normal((200, 6))
    X[:40, 1] = np.nan
    X[:, 2] = np.nan
    X[:, 3] = 7.0
    X[3, 0], X[4, 0] = 1e12, np.inf
    X[:, 5] = rng.integers(0, 3, 200)
    design = learn_design(X, (5,))
    assert design.numbers == (0, 1, 4)
    assert design.gaps == (1,)
    assert len(design.codes) == 3
    X[0, 5], X[1, 5] = 99.0, np.nan
    columns = design.matrix(X)
    assert columns.shape == (200, 7)
    assert np.abs(columns).max() <= 5
    assert columns[0, -3:].sum() == columns[1, -3:].sum() == 0
    assert Design.from_dict(json.loads(json.dumps(design.to_dict()))) == design


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extreme", [np.inf, 1e308])
def test_design_of_extreme_values_can_be_saved(rng: np.random.Generator, extreme: float) -> None:
    """Endless values, and values whose differences are, leave only numbers that JSON holds."""
    X = np.column_stack([np.arange(200) % 7 == 0, np.arange(200) > 20, rng.standard_normal(200)])
    X[:120, 1] = X[3, 0] = extreme
    X[4, 0] = -extreme
    design = learn_design(X, ())
    json.dumps(design.to_dict(), allow_nan=False)
    assert 2 in design.numbers
    assert np.abs(design.matrix(X)).max() <= 5


def test_outlier_does_not_drown_a_number_that_is_mostly_zero() -> None:
    """Its unit is that of the values which are not 0, whatever one of them is."""
    column = np.where(np.arange(400) % 10 == 0, 1.0, 0.0)
    column[10] = 1e12
    (unit,) = learn_design(column[:, None], ()).unit
    assert 0.2 < unit < 1


def test_true_planes_are_found(rng: np.random.Generator) -> None:
    """Where location and scale are linear, each quantile is, and is found."""
    X = rng.uniform(size=(4000, 3))
    y = 3 * X[:, 0] - 2 * X[:, 1] + (0.5 + X[:, 2]) * rng.standard_normal(4000)
    model = fit_linear(rows_of(X, y))
    asked = np.array([[0.2, 0.3, 0.1], [0.8, 0.5, 0.9]])
    truth = (3 * asked[:, 0] - 2 * asked[:, 1])[:, None] + (0.5 + asked[:, 2:]) * ndtri(LEVELS)
    # the standard error of an extreme quantile of 4,000 rows, τ(1 − τ)/(n f²), is about 0.06 here
    np.testing.assert_allclose(model.quantiles(asked), truth, atol=0.2)


def test_levels_never_cross_far_from_the_rows(rng: np.random.Generator) -> None:
    """Planes that meet are sorted, and stay within reach of the outcomes seen."""
    X = rng.standard_normal((300, 2))
    y = X[:, 0] + np.exp(X[:, 1]) * rng.standard_normal(300)
    found = fit_linear(rows_of(X, y)).quantiles(rng.standard_normal((200, 2)) * 50)
    assert (np.diff(found, axis=1) >= 0).all()
    assert found.max() <= y.max() + (y.max() - y.min()) / 2


def test_some_of_many_rows_are_of_all_seasons(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A season as long as the rows read are apart is learnt; limits are those of all rows."""
    monkeypatch.setattr(linear, "_MOST_ROWS", 200)
    hour = np.arange(24 * 200) % 24
    y = np.where(hour < 12, 5.0, -5.0) + 0.1 * rng.standard_normal(len(hour))
    y[7] = 60.0
    found = fit_linear(rows_of((hour < 12)[:, None].astype(np.float64), y))
    np.testing.assert_allclose(found.quantiles(np.array([[0.0], [1.0]]))[:, 3], (-5, 5), atol=1)
    assert found.limits[1] > 60


def test_forecast_of_a_row_does_not_depend_on_the_others(rng: np.random.Generator) -> None:
    """The bits are the same whether rows are asked for alone, in sevens or together."""
    X = rng.standard_normal((210, 7))
    model = fit_linear(rows_of(X, X[:, 0] + rng.standard_normal(210)))
    together = model.quantiles(X)
    for count in (1, 7):
        parts = [model.quantiles(X[start : start + count]) for start in range(0, 210, count)]
        np.testing.assert_array_equal(np.vstack(parts), together)


@pytest.mark.parametrize("spoilt", ["outlier", "few", "constant", "zeros", "wide", "empty"])
def test_odd_rows_are_survived(rng: np.random.Generator, spoilt: str) -> None:
    """Outliers, few rows, ties and more columns than rows give finite forecasts, unwarned."""
    X, y = rng.standard_normal((400, 3)), rng.standard_normal(400)
    if spoilt == "outlier":
        X[0, 0], y[1] = 1e12, 1e12
    elif spoilt == "few":
        X, y = X[:8], y[:8]
    elif spoilt == "constant":
        y[:] = 3.0
    elif spoilt == "zeros":
        y = np.where(rng.uniform(size=400) < 0.95, 0.0, np.exp(y))
    elif spoilt == "wide":
        X, y = rng.standard_normal((40, 60)), y[:40]
    else:
        X = X[:, :0]
    found = fit_linear(rows_of(X, y)).quantiles(X)
    assert np.isfinite(found).all()
    if spoilt == "outlier":
        assert np.abs(found[2:, 1:-1]).max() < 10
    if spoilt == "constant":
        np.testing.assert_allclose(found, 3.0, atol=1e-6)


def test_weight_counts_as_repetition(rng: np.random.Generator) -> None:
    """A row of weight 3 is as three rows, but for what the number of rows sets."""
    X, y = rng.uniform(size=(600, 1)), rng.standard_normal(600)
    heavy = rng.uniform(size=600) < 0.5
    y[heavy] += 4 * X[heavy, 0]
    weights = np.where(heavy, 3.0, 1.0)
    once = fit_linear(replace(rows_of(X, y), weights=weights / weights.mean()))
    repeated = np.repeat(np.arange(600), weights.astype(int))
    often, plain = fit_linear(rows_of(X[repeated], y[repeated])), fit_linear(rows_of(X, y))
    asked = np.array([[0.1], [0.9]])
    wanted = often.quantiles(asked)
    assert np.abs(once.quantiles(asked) - wanted).mean() < 0.1
    assert np.abs(plain.quantiles(asked) - wanted).mean() > 0.3


def test_it_reads_back_bit_equal(rng: np.random.Generator) -> None:
    """What went through JSON predicts the same."""
    X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
    model = fit_linear(rows_of(X, y))
    again = Linear.from_dict(json.loads(json.dumps(model.to_dict())), ())
    np.testing.assert_array_equal(again.quantiles(X), model.quantiles(X))


def test_forecasts_out_of_fold_have_not_seen_their_outcome(rng: np.random.Generator) -> None:
    """Outcomes of a fold do not move the forecasts of that fold, and those do gain by features."""
    X = rng.standard_normal((400, 2))
    y = 2 * X[:, 0] + rng.standard_normal(400)
    training = rows_of(X, y)
    found = cross_fit_linear(training).quantiles
    changed = np.where(training.folds == 1, -50.0, y)
    again = cross_fit_linear(replace(training, y=changed)).quantiles
    own = training.folds == 1
    np.testing.assert_array_equal(again[own], found[own])
    flat = np.tile(np.quantile(y, LEVELS), (400, 1))
    assert pinball_loss(y, found, LEVELS).mean() < 0.6 * pinball_loss(y, flat, LEVELS).mean()
