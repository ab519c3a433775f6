"""Tests of the weights a forecaster is fitted again with."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from benchmarks.shifted_populations import FEATURES, TARGET, rows_of
from monitors.target_shift.reweight import reweight
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.scores import pinball_loss

LEVELS = (0.1, 0.5, 0.9)


def test_every_row_with_a_target_gets_a_weight(rng: np.random.Generator) -> None:
    """More rows than the sample takes; a row without a target counts 0."""
    before, after = rows_of("no shift", 800, rng), rows_of("target shift", 300, rng)
    y = before[TARGET].to_numpy().copy()
    y[:3] = np.nan
    before = before.set_column(5, TARGET, pa.array(y, from_pandas=True))
    weights = reweight(before, after.drop([TARGET]), TARGET, FEATURES, seed=0)
    assert weights.shape == (800,)
    assert (weights[:3] == 0.0).all()
    assert weights[3:].mean() == pytest.approx(1.0)
    low, high = weights[3:][y[3:] < -1.0].mean(), weights[3:][y[3:] > 1.0].mean()
    assert high > 5.0 * low


@pytest.mark.slow
def test_a_forecaster_fitted_with_them_loses_less_in_the_window() -> None:
    """Over three windows, most of what the true ratio of the laws would gain."""
    losses = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        before, after = rows_of("no shift", 400, rng), rows_of("target shift", 1000, rng)
        y = before[TARGET].to_numpy()
        truth = 1.0 / (1.0 + np.exp(1.0 - 2.0 * y))
        found = reweight(before, after.drop([TARGET]), TARGET, FEATURES, seed=seed)
        folds = contiguous_folds(np.arange(len(y)), 4)
        frame, window = pl.DataFrame(before), pl.DataFrame(after)
        own = [
            fit_forecaster(frame, TARGET, FEATURES, LEVELS, folds, seed, w).predict(window)
            for w in (None, found, truth / truth.mean())
        ]
        losses.append([pinball_loss(window[TARGET].to_numpy(), q, LEVELS).mean() for q in own])
    none, ours, oracle = np.mean(losses, axis=0)
    assert oracle < none
    assert none - ours > 0.5 * (none - oracle)
