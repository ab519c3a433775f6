"""Tests of forecasters whose rows count differently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from schemas.errors import SourceError
from transforms.forecast.direct import fit_direct
from transforms.forecast.empirical import mean_pinball, sample_quantiles
from transforms.forecast.fitted import load
from transforms.forecast.location_scale import cross_fit_location_scale
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.forecast.training import TrainingSet

LEVELS = (0.1, 0.5, 0.9)
TAU = np.array(LEVELS)
Floats = NDArray[np.float64]


def mixture(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats, Floats]:
    """Return x, y and weights: y is at 0 or at 10 by chance, which x does not know; 10 counts 4."""
    high = rng.random(rows) < 0.5
    y = 10.0 * high + rng.standard_normal(rows)
    return rng.standard_normal((rows, 2)), y, np.where(high, 4.0, 1.0)


def test_equal_weights_give_the_quantiles_of_none(rng: np.random.Generator) -> None:
    """Of any size."""
    values, levels = rng.standard_normal(37), np.linspace(0.01, 0.99, 25)
    weighted = sample_quantiles(values, levels, np.full(37, 3.0))
    np.testing.assert_allclose(weighted, sample_quantiles(values, levels))


def test_a_weight_of_two_is_nearly_a_row_twice(rng: np.random.Generator) -> None:
    """Quantiles of many rows agree; so does the mean loss, exactly."""
    values, twice = rng.standard_normal(2000), rng.random(2000) < 0.5
    weights = np.where(twice, 2.0, 1.0)
    repeated = np.concatenate([values, values[twice]])
    np.testing.assert_allclose(
        sample_quantiles(values, TAU, weights), sample_quantiles(repeated, TAU), atol=0.01
    )
    loss = mean_pinball(values, np.tile(TAU, (2000, 1)), TAU, weights)
    again = mean_pinball(repeated, np.tile(TAU, (len(repeated), 1)), TAU)
    assert loss == pytest.approx(again)


def test_a_forest_counts_rows_by_their_weights(rng: np.random.Generator) -> None:
    """With the upper half four times as heavy, four fifths of the forecast lie there."""
    x, y, weights = mixture(rng, 1000)
    levels = np.array([0.12, 0.3])
    rows = TrainingSet(x, y, np.zeros(1000, np.int64), levels)
    plain = fit_direct(rows).quantiles(x).mean(axis=0)
    heavy = fit_direct(replace(rows, weights=weights))
    assert plain[1] < 2.0
    assert heavy.quantiles(x).mean(axis=0)[0] < 2.0
    assert heavy.quantiles(x).mean(axis=0)[1] > 7.0


def test_boosting_follows_the_heavier_rows(rng: np.random.Generator) -> None:
    """The location and the residual quantiles of weighted rows cover the weighted law."""
    x, y, weights = mixture(rng, 1000)
    folds = contiguous_folds(np.arange(1000), 4)
    found = cross_fit_location_scale(TrainingSet(x, y, folds, TAU, weights=weights), stops=(25,))
    below = (y[:, None] <= found.quantiles).T @ weights / weights.sum()
    np.testing.assert_allclose(below, TAU, atol=0.04)


def test_rows_of_no_weight_are_left_out(rng: np.random.Generator) -> None:
    """The forecaster is the one fitted without them, and survives being saved."""
    x, y, _ = mixture(rng, 300)
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y})
    folds = contiguous_folds(np.arange(300), 3)
    keep = rng.random(300) < 0.7
    zero = fit_forecaster(table, "y", ["a", "b"], LEVELS, folds, 0, np.where(keep, 1.0, 0.0))
    without = fit_forecaster(
        table.filter(keep), "y", ["a", "b"], LEVELS, folds[keep], 0, np.ones(keep.sum())
    )
    np.testing.assert_array_equal(zero.predict(table), without.predict(table))
    assert np.isnan(zero.out_of_fold[~keep]).all()


def test_a_weighted_forest_reloads_bit_equal(
    rng: np.random.Generator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Counts that are no integers are kept as they are."""
    x, y, weights = mixture(rng, 400)
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.round(y)})
    folds = contiguous_folds(np.arange(400), 3)
    fitted = fit_forecaster(table, "y", ["a", "b"], LEVELS, folds, 0, weights / weights.mean())
    folder = tmp_path_factory.mktemp("weighted")
    fitted.save(folder)
    np.testing.assert_array_equal(load(folder).predict(table), fitted.predict(table))


def test_weights_of_nothing_are_said(rng: np.random.Generator) -> None:
    """No row with a target has a positive weight."""
    table = pl.DataFrame({"a": rng.standard_normal(60), "y": rng.standard_normal(60)})
    with pytest.raises(SourceError, match="positive weight"):
        fit_forecaster(
            table, "y", ["a"], LEVELS, contiguous_folds(np.arange(60), 2), 0, np.zeros(60)
        )
