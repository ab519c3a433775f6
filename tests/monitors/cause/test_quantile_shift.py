"""The shift function: what it shows of known changes, and how often its band holds."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.cause.quantile_shift import CONFIDENCE, LEAST_ROWS, LEVELS, quantile_shift
from monitors.encoder import FloatArray


def series(rng: np.random.Generator, rows: int, rho: float) -> FloatArray:
    """Return a standard normal series with autocorrelation `rho`."""
    shocks = rng.standard_normal(rows) * np.sqrt(1 - rho**2)
    values = np.empty(rows)
    values[0] = rng.standard_normal()
    for at in range(1, rows):
        values[at] = rho * values[at - 1] + shocks[at]
    return values


def test_offset_is_flat_and_scale_is_a_slope(rng: np.random.Generator) -> None:
    """An offset moves all quantiles alike; a scale moves each by its own size."""
    before = rng.standard_normal(2000)
    found = quantile_shift(before, before + 3.0)
    assert found is not None
    assert found.shift == pytest.approx(np.full(len(LEVELS), 3.0))
    found = quantile_shift(before, 2.0 * before)
    assert found is not None
    assert found.shift == pytest.approx(found.before)


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_band_holds_at_each_level_as_often_as_it_says(rng: np.random.Generator, rho: float) -> None:
    """Where nothing moved, each limit pair holds 0; rows that depend on each other, too.

    500 trials: 5 standard errors of a share of 0.95 are 0.049. A band that took 168 rows of ρ = 0.7
    for independent ones would hold 0 in about 60 % of the trials.
    """
    trials = 500
    inside = np.zeros(len(LEVELS))
    for _ in range(trials):
        found = quantile_shift(series(rng, 600, rho), series(rng, 168, rho))
        assert found is not None
        inside += (found.low <= 0) & (found.high >= 0)
    allowed = 5 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / trials)
    assert (inside / trials).min() > CONFIDENCE - allowed


def test_dependent_rows_count_for_fewer(rng: np.random.Generator) -> None:
    """Rows with autocorrelation 0.7 are worth about 3/17 of so many independent ones."""
    before = rng.standard_normal(2000)
    alone = quantile_shift(before, rng.standard_normal(2000))
    dependent = quantile_shift(before, series(rng, 2000, 0.7))
    assert alone is not None
    assert dependent is not None
    assert alone.effective_rows > 1000
    assert 150 < dependent.effective_rows < 700


def test_rows_that_lost_their_order_do_not_count_for_more(rng: np.random.Generator) -> None:
    """A shuffled stretch of a slow series says no more of its law than the stretch did."""
    before, after = series(rng, 2000, 0.9), series(rng, 400, 0.9)
    shuffled = quantile_shift(before, rng.permutation(after))
    assert shuffled is not None
    assert shuffled.effective_rows < 100


def test_few_rows_have_no_shift_function(rng: np.random.Generator) -> None:
    """Below twenty rows on one side nothing is said."""
    values = rng.standard_normal(500)
    assert quantile_shift(values, values[: LEAST_ROWS - 1]) is None
    assert quantile_shift(values[: LEAST_ROWS - 1], values) is None


def test_constant_side_is_no_error(rng: np.random.Generator) -> None:
    """A sensor that is stuck has one quantile, and all of them move to it."""
    before = rng.standard_normal(500)
    found = quantile_shift(before, np.full(100, 4.0))
    assert found is not None
    assert found.after == pytest.approx(np.full(len(LEVELS), 4.0))
    assert np.isfinite(found.low).all()
    assert np.isfinite(found.high).all()
