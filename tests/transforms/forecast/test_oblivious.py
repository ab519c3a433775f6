"""Tests of oblivious trees: bins, questions, sums, and LightGBM's reading of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from transforms.forecast.boosting import contributions, raw_scores
from transforms.forecast.oblivious.bins import MISSING, UNKNOWN, learn_bins
from transforms.forecast.oblivious.grow import MOST_ROWS, Ensemble, Sample, leaf_of
from transforms.forecast.oblivious.text import lightgbm_text
from transforms.forecast.oblivious.trees import Trees, sums
from transforms.forecast.packed import pack, unpack
from transforms.forecast.symmetric import Symmetric, cross_fit_symmetric
from transforms.forecast.training import TrainingSet

Floats = NDArray[np.float64]


def mixed_features(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Return numbers with gaps, a category of 40 codes, and a target of them."""
    X = rng.normal(size=(rows, 4))
    X[:, 2] = rng.integers(0, 40, rows)
    y = X[:, 0] + np.sin(7 * X[:, 2]) + 0.3 * rng.normal(size=rows)
    X[rng.random((rows, 4)) < 0.1] = np.nan
    return X, y


def test_codes_and_thresholds_say_the_same(rng: np.random.Generator) -> None:
    """A row's code is above a cut's exactly where its value is above the cut's threshold."""
    X = np.column_stack([rng.normal(size=900), rng.integers(0, 5, 900).astype(float)])
    X[::7, 0] = np.nan
    X[3, 1] = np.nextafter(1.0, 2.0)  # the midpoint to 1 must not round up to it
    bins = learn_bins(X, ())
    codes = bins.codes(X)
    assert (codes[0] == MISSING).sum() == np.isnan(X[:, 0]).sum()
    for feature in range(2):
        for code in np.unique(codes[feature])[:-1]:
            above = X[:, feature] > bins.threshold(feature, int(code))
            np.testing.assert_array_equal(codes[feature] > code, above)


def test_a_split_is_the_one_of_largest_gain(rng: np.random.Generator) -> None:
    """Gradient and hessian, counted as digits of one number, choose as counted apart."""
    codes = rng.integers(1, 30, (3, 400)).astype(np.uint8)
    gradient, hessian = rng.normal(size=400) * np.exp(rng.normal(size=400)), rng.random(400) + 0.5
    sample = Sample(codes, np.arange(400), rng)
    (found,) = sample.splits(gradient, hessian, 1, 1.0)
    gains = {}
    for feature in range(3):
        for code in range(1, 29):
            sides = (codes[feature] <= code, codes[feature] > code)
            gains[feature, code] = sum(
                gradient[side].sum() ** 2 / (hessian[side].sum() + hessian.mean()) for side in sides
            )
    # gradients are rounded to 1/4095 of the largest
    assert gains[found] >= 0.99 * max(gains.values())


def test_sums_of_the_largest_sample_are_exact(rng: np.random.Generator) -> None:
    """With all rows in one bin and the steepest ones, no digit of a count is lost."""
    codes = np.ones((2, MOST_ROWS), np.uint8)
    codes[0, ::2] = 2
    gradient = np.where(codes[0] == 2, 1.0, -1.0)
    sample = Sample(codes, np.arange(MOST_ROWS), rng)
    assert sample.splits(gradient, np.ones(MOST_ROWS), 2, 1.0) == [(0, 1)]
    assert sample.splits(np.zeros(MOST_ROWS), np.ones(MOST_ROWS), 2, 1.0) == []


def test_unknown_categories_go_right_and_missing_numbers_left(rng: np.random.Generator) -> None:
    """At every split; so they do in the trees that are kept."""
    codes = np.array([[MISSING, 1, 2], [UNKNOWN, 0, 1]], np.uint8)
    assert leaf_of(codes, [(0, 1), (1, 0)]).tolist() == [1, 0, 3]
    ensemble = Ensemble([], [], [])
    ensemble.add([(0, 1)], np.array([5.0, 7.0]), np.ones(2))
    bins = learn_bins(np.column_stack([[1.0, 2.0, 3.0], rng.random(3)]), ())
    X = np.array([[np.nan, 0.0], [1.2, 0.0], [1.8, 0.0]])
    assert sums([ensemble.trees(bins, 3)], X).tolist() == [[5.0, 5.0, 7.0]]


@pytest.fixture(scope="module")
def grown() -> tuple[Symmetric, Floats]:
    """Return a model of mixed features, and rows with codes that it has not seen."""
    rng = np.random.default_rng(1)
    X, y = mixed_features(rng, 1500)
    folds, levels = np.arange(1500) % 3, np.array([0.1, 0.5, 0.9])
    model = cross_fit_symmetric(TrainingSet(X, y, folds, levels, categories=(2,))).refit()
    assert isinstance(model, Symmetric)
    X[:4, 2] = [200.0, 41.0, np.nan, 0.0]
    return model, X[:100]


def test_lightgbm_reads_the_trees_as_they_are(grown: tuple[Symmetric, Floats]) -> None:
    """Scores agree for gaps, categories and new codes, and path values add up to them."""
    model, X = grown
    text, constant = lightgbm_text([(m.parts[0], m.ranks) for m in model.members], 4)
    scores = raw_scores(text, X)
    np.testing.assert_allclose(scores + constant, model.parameters(X)[:, 0], atol=1e-12)
    np.testing.assert_allclose(contributions(text, X).sum(axis=1), scores, atol=1e-12)


def test_trees_are_saved_to_the_bit(grown: tuple[Symmetric, Floats]) -> None:
    """Through JSON and back, forecasts are equal."""
    model, X = grown
    again = Symmetric.from_dict(json.loads(json.dumps(model.to_dict())), ())
    np.testing.assert_array_equal(again.quantiles(X), model.quantiles(X))


def test_no_trees_sum_to_nothing() -> None:
    """An ensemble without trees adds 0, and is no text."""
    questions, leaves = np.zeros((0, 2)), np.zeros((0, 4))
    none = Trees(questions.astype(np.int64), questions, leaves, leaves)
    assert sums([none], np.ones((3, 1))).tolist() == [[0.0, 0.0, 0.0]]
    assert lightgbm_text([(none, {})], 1) == ("", 0.0)


def test_damaged_arrays_are_a_value_error() -> None:
    """Which the reader of forecasters turns into its own error."""
    state = pack(np.arange(3))
    np.testing.assert_array_equal(unpack(state), np.arange(3))
    with pytest.raises(ValueError, match="damaged"):
        unpack(state | {"zlib": state["zlib"][:-5]})
