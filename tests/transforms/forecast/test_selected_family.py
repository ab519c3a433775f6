from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from transforms.forecast.fitted import load
from transforms.forecast.parametric import Parametric, cross_fit_family
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.forecast.selected_family import SelectedFamily, cross_fit_selected_family
from transforms.forecast.training import TrainingSet

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def changing(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a target that is gamma of shape .4 on the left of x0 = ½, lognormal on the right."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(rows, 3))
    mean = np.exp(1 + X[:, 1])
    left = rng.gamma(0.4, mean / 0.4)
    right = mean * np.exp(1.3 * rng.normal(size=rows) - 0.8)
    return X, np.where(X[:, 0] < 0.5, left, right)


def training_set(X: np.ndarray, y: np.ndarray) -> TrainingSet:
    """Return a training set on three contiguous folds."""
    return TrainingSet(X, y, contiguous_folds(np.arange(len(y)), 3), LEVELS, seed=1)


@pytest.fixture(scope="module")
def fitted_changing() -> SelectedFamily:
    """Fit once on the stream whose family changes."""
    fit = cross_fit_selected_family(
        training_set(*changing(3000, 1)), ("skew_t", "lognormal", "gamma")
    )
    model = fit.refit()
    assert isinstance(model, SelectedFamily)
    return model


@pytest.mark.slow
def test_gate_beats_the_best_family_where_the_family_changes(
    fitted_changing: SelectedFamily,
) -> None:
    """On new rows the log score is better than any one family's, by three standard errors."""
    X, y = changing(4000, 2)
    own = fitted_changing.log_density(X, y)
    training = training_set(*changing(3000, 1))
    for family in ("lognormal", "gamma", "skew_t"):
        single = cross_fit_family(training, family).refit()
        gain = own - single.log_density(X, y)
        assert gain.mean() > 3 * gain.std() / np.sqrt(len(y))


def test_gate_weighs_each_family_where_it_holds(fitted_changing: SelectedFamily) -> None:
    """The gamma counts for more on the left, the lognormal on the right."""
    X, _ = changing(1000, 3)
    weights = {
        member.family: weight
        for member, weight in zip(
            fitted_changing.members, fitted_changing.weights(X).T, strict=True
        )
    }
    left = X[:, 0] < 0.5
    assert weights["gamma"][left].mean() > weights["gamma"][~left].mean() + 0.2
    assert weights["lognormal"][~left].mean() > weights["lognormal"][left].mean() + 0.2
    np.testing.assert_allclose(sum(weights.values()), 1)
    named = fitted_changing.parameters(X)
    np.testing.assert_array_equal(named["gamma.weight"], weights["gamma"])
    assert {"gamma.mean", "gamma.shape", "lognormal.mu", "lognormal.sigma"} <= named.keys()


@pytest.mark.parametrize("family", ["normal", "gamma"])
def test_one_family_is_not_made_worse(family: str, rng: np.random.Generator) -> None:
    """Where one family holds everywhere, the mixture's log score on new rows is not below its."""
    X = rng.uniform(size=(3000, 3))
    level = 1 + X[:, 0]
    y = rng.gamma(2.0, level / 2) if family == "gamma" else 9 + rng.normal(level, 0.4)
    training = training_set(X[:600], y[:600])
    model = cross_fit_selected_family(training).refit()
    single = cross_fit_family(training, family).refit()
    assert isinstance(model, Parametric | SelectedFamily)
    gain = model.log_density(X[600:], y[600:]) - single.log_density(X[600:], y[600:])
    # noise of the 2,400 rows compared, and what so few rows to fit on cost: a hundredth of a nat
    assert gain.mean() > -0.01 - 3 * gain.std() / np.sqrt(2400)


def test_family_alone_is_kept_alone(rng: np.random.Generator) -> None:
    """Amounts with zeros are of one family of the candidates: the fit is that, with zeros."""
    y = np.where(rng.uniform(size=600) < 0.5, 0.0, rng.lognormal(size=600))
    model = cross_fit_selected_family(training_set(rng.uniform(size=(600, 2)), y)).refit()
    assert isinstance(model, Parametric)
    assert model.kind == "zero_inflated_lognormal"


def test_reload_is_bit_equal(tmp_path: Path) -> None:
    """Members and gate travel through the saved files bit for bit."""
    X, y = changing(700, 4)
    y = y * np.exp(3 * X[:, 2])
    table = pl.DataFrame({f"x{j}": X[:, j] for j in range(3)} | {"y": y})
    folds = contiguous_folds(np.arange(700), 3)
    fitted = fit_forecaster(
        table, "y", ["x0", "x1", "x2"], LEVELS.tolist(), folds, 1, kinds=["selected_family"]
    )
    assert fitted.kind == "selected_family"
    assert json.loads(json.dumps(fitted.model.to_dict())) == fitted.model.to_dict()
    fitted.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(again.predict(table), fitted.predict(table))
    assert again.model_id == fitted.model_id
    assert (np.diff(fitted.predict(table), axis=1) >= 0).all()
