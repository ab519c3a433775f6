from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri

from schemas.errors import StreamFileError
from transforms.forecast.empirical import mean_pinball
from transforms.forecast.fitted import load
from transforms.forecast.kinds import CROSS_FITS, MODELS
from transforms.forecast.neural import descent, implicit, sequence
from transforms.forecast.neural.inputs import Inputs, learn_inputs
from transforms.forecast.neural.networks import start_quantiles
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.forecast.training import TrainingSet

pytest.importorskip("optax")

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
STEPS = 10
NAMES = tuple(f"lag_{back}" for back in range(1, STEPS + 1))


def two_folds(n: int) -> np.ndarray:
    """Return a first and a second half."""
    return np.arange(n) * 2 // n


def curved(n: int) -> tuple[TrainingSet, np.ndarray]:
    """Return rows whose mean and spread follow the features, and their true quantiles."""
    rng = np.random.default_rng(7)
    X = rng.uniform(-1, 1, size=(n, 4))
    loc, scale = np.sin(3 * X[:, 0]), np.exp(X[:, 1] - 1)
    y = 50 + 10 * (loc + scale * rng.normal(size=n))
    truth = 50 + 10 * (loc[:, None] + scale[:, None] * ndtri(LEVELS))
    return TrainingSet(X, y, two_folds(n), LEVELS, tuple("abcd")), truth


def volatile(n: int) -> tuple[TrainingSet, np.ndarray]:
    """Return rows of a series whose spread has a memory, and their true standard deviations."""
    rng = np.random.default_rng(5)
    y, sigma = np.zeros(n + STEPS), np.ones(n + STEPS)
    for t in range(1, n + STEPS):
        square = (0.1 + 0.5 * (y[t - 1] < 0)) * y[t - 1] ** 2
        sigma[t] = np.sqrt(0.1 + square + 0.5 * sigma[t - 1] ** 2)
        y[t] = sigma[t] * rng.normal()
    y = 2 + 5 * y
    X = np.column_stack([y[STEPS - back : -back] for back in range(1, STEPS + 1)])
    return TrainingSet(X, y[STEPS:], two_folds(n), LEVELS, NAMES), 5 * sigma[STEPS:]


@pytest.fixture(scope="module")
def network() -> sequence.SequenceNetwork:
    """Return a convolutional network of 2,500 rows of `volatile`."""
    training = volatile(4000)[0].take(np.arange(2500))
    lags = tuple((back, back - 1) for back in range(1, STEPS + 1))
    return sequence.fit_sequence(training, "cnn", "normal", lags)[0]


@pytest.mark.slow
def test_implicit_quantiles_recover_the_law() -> None:
    """Out of fold within 6 % of the loss of the true quantiles, learnt from 1,250 rows."""
    training, truth = curved(2500)
    fit = CROSS_FITS["implicit_quantiles"](training)
    ideal = mean_pinball(training.y, truth, LEVELS)
    assert mean_pinball(training.y, fit.quantiles, LEVELS) < 1.06 * ideal
    width, own = truth[:, -1] - truth[:, 0], fit.quantiles[:, -1] - fit.quantiles[:, 0]
    assert np.corrcoef(np.log(width), np.log(own))[0, 1] > 0.9
    assert np.all(np.diff(fit.quantiles, axis=1) >= 0)
    # on all rows for as long as the folds: as good, on rows it has seen
    assert mean_pinball(training.y, fit.refit().quantiles(training.X), LEVELS) < 1.05 * ideal


def test_few_rows_stay_near_the_marginal_law(rng: np.random.Generator) -> None:
    """Sixty rows without a relation: no more than 10 % worse than climatology."""
    training = TrainingSet(rng.normal(size=(60, 8)), rng.gamma(1.0, size=60), two_folds(60), LEVELS)
    losses = [
        mean_pinball(training.y, CROSS_FITS[kind](training).quantiles, LEVELS)
        for kind in ("implicit_quantiles", "climatology")
    ]
    assert losses[0] < 1.1 * losses[1]


def test_scale_follows_the_true_volatility(network: sequence.SequenceNetwork) -> None:
    """On later rows, closer than the running size of the past, which knows no fall from a rise."""
    training, sigma = volatile(4000)
    X, sigma = training.X[2500:], sigma[2500:]
    own = network.parameters(X)["scale"]
    size = sequence._read(X, network.lags, network.inputs, network.centre, network.unit)[2]
    misses = [np.std(np.log(scale / sigma)) for scale in (own, size)]
    assert misses[0] < 0.16
    assert misses[0] < 0.6 * misses[1]
    fall, rise = np.full((2, STEPS), network.centre)
    fall[0], rise[0] = network.centre - 15, network.centre + 15
    scales = network.parameters(np.array([fall, rise]))["scale"]
    assert scales[0] > 1.2 * scales[1]


@pytest.mark.slow
def test_out_of_fold_quantiles_hold_their_levels() -> None:
    """Each level within five standard errors of its share of 1,000 rows."""
    training, _ = volatile(1000)
    fit = CROSS_FITS["cnn"](training)
    below = (training.y[:, None] < fit.quantiles).mean(axis=0)
    assert np.all(np.abs(below - LEVELS) < 5 * np.sqrt(LEVELS * (1 - LEVELS) / 1000))
    assert fit.refit().kind == "cnn"


def test_recurrent_network_learns() -> None:
    """Eighty steps forecast the rows they were learnt from better than none."""
    training, sigma = volatile(400)
    lags = tuple((back, back - 1) for back in range(1, STEPS + 1))
    first, longer = (
        sequence.fit_sequence(training, "lstm", "normal", lags, rounds)[0] for rounds in (1, 10)
    )
    assert longer.kind == "lstm"
    scales = [own.parameters(training.X)["scale"] for own in (first, longer)]
    misses = [np.std(np.log(scale / sigma)) for scale in scales]
    assert misses[1] < misses[0]


def test_gaps_in_the_past_leave_a_forecast(network: sequence.SequenceNetwork) -> None:
    """Without any past, the size is the target's own."""
    X = np.full((2, STEPS), np.nan)
    X[1, :3] = 4.0
    found = network.quantiles(X)
    assert np.isfinite(found).all()
    assert np.all(np.diff(found, axis=1) > 0)
    size = sequence._read(X, network.lags, network.inputs, network.centre, network.unit)[2]
    assert size[0] == 1


def test_fit_stops_where_later_rows_differ() -> None:
    """The rows held out are the last: a relation that ends before them is not learnt for long."""
    training, _ = curved(1000)
    late = training.y.copy()
    late[800:] = late[800:][::-1]
    spoilt = TrainingSet(training.X, late, training.folds, LEVELS)
    early = TrainingSet(training.X[::-1], late[::-1], training.folds, LEVELS)
    stopped, learnt = (implicit._fit(rows)[1] for rows in (spoilt, early))
    assert stopped < learnt / 2


def test_rows_without_weight_are_not_read(rng: np.random.Generator) -> None:
    """Held-out rows are filled up with such; and outcomes of such rows change nothing."""
    training, _ = curved(400)
    weights = np.where(np.arange(400) % 4 == 0, 0.0, 1.0)
    other = np.where(weights == 0, rng.permutation(training.y), training.y)
    arrays = [
        (training.X.astype(np.float32), y.astype(np.float32), weights.astype(np.float32))
        for y in (training.y, other)
    ]
    start = start_quantiles(np.random.default_rng(1), 4, arrays[0][1])
    fits = [implicit._descent().fit(start, own, seed=3, rounds=3)[0] for own in arrays]
    for name, value in fits[0].items():
        np.testing.assert_array_equal(value, fits[1][name])
    padded = descent._padded(arrays[0])
    assert len(padded[0]) == 512
    assert padded[-1].sum() == weights.sum()


def test_inputs_have_no_gaps() -> None:
    """A missing number is its mean beside an indicator; a category is its frequent codes."""
    X = np.array([[1.0, np.nan, 7.0, 0.0], [3.0, 4.0, 7.0, 1.0]] * 10)
    X[0, 3] = 9.0  # too rare for an input of its own
    X[1, 3] = 0.0
    inputs = learn_inputs(X, range(4), (3,))
    assert inputs.width == 3  # a column that never varies, and one where known, are left out
    again = Inputs.from_dict(json.loads(json.dumps(inputs.to_dict())))
    rows = again.matrix(np.array([[5.0, 4.0, 7.0, 0.0], [np.nan, np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(rows, [[3, 0, 1], [0, 1, 0]])
    assert again.matrix(np.array([[1e9, 0.0, 0.0, 2.0]]))[0, 0] == 5


@pytest.mark.slow
def test_reads_back_bit_equal_and_forecasts_without_jax(
    network: sequence.SequenceNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From disk and from JSON; the same seed gives the same forecaster."""
    training, _ = curved(300)
    table = pl.DataFrame(training.X, schema=list("abcd")).with_columns(y=training.y)
    fits = [
        fit_forecaster(
            table,
            "y",
            list("abcd"),
            LEVELS.tolist(),
            contiguous_folds(np.arange(300), 2),
            seed,
            kinds=("implicit_quantiles",),
        )
        for seed in (1, 1, 2)
    ]
    assert fits[0].kind == "implicit_quantiles"
    assert fits[0].model_id == fits[1].model_id != fits[2].model_id
    fits[0].save(tmp_path)
    expected = fits[0].predict(table)
    for package in ("jax", "optax"):
        monkeypatch.setitem(sys.modules, package, None)
    np.testing.assert_array_equal(load(tmp_path).predict(table), expected)
    again = MODELS["cnn"].from_dict(json.loads(json.dumps(network.to_dict())), ())
    X = volatile(200)[0].X
    np.testing.assert_array_equal(again.quantiles(X), network.quantiles(X))


@pytest.mark.parametrize("kind", ["cnn", "lstm", "implicit_quantiles"])
def test_missing_extra_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says which package is missing, and what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StreamFileError, match=rf"`{kind}` needs .* jax.*tidegauge\[neural\]"):
        CROSS_FITS[kind](volatile(100)[0])


def test_one_lag_is_no_sequence() -> None:
    """The kinds that read a past say how much of it they need."""
    training, _ = volatile(100)
    one = TrainingSet(training.X[:, :1], training.y, training.folds, LEVELS, ("lag_1",))
    with pytest.raises(StreamFileError, match=r"`lstm` reads .* two lags"):
        CROSS_FITS["lstm"](one)
