"""Tests of quantiles put in order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression
from scipy.special import ndtri

from transforms.isotonic import min_max_from_median, pool_adjacent_violators, sort_quantiles
from transforms.scores import pinball_loss, weighted_interval_score

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])

finite = st.floats(-1e3, 1e3)
rows = arrays(np.float64, (4, len(LEVELS)), elements=finite)
outcomes = arrays(np.float64, 4, elements=finite)


def sum_of_losses(y: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the pinball losses of each row, summed over the levels."""
    return np.asarray(pinball_loss(y, values, LEVELS).sum(axis=1))


@pytest.mark.parametrize(
    "order", [sort_quantiles, pool_adjacent_violators, lambda v: min_max_from_median(v, 2)]
)
@given(values=rows)
def test_levels_do_not_cross_afterwards(
    order: Callable[[np.ndarray], np.ndarray], values: np.ndarray
) -> None:
    """Each way gives rows that never decrease, and leaves such rows as they are."""
    found = order(values)
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_array_equal(order(found), found)


@pytest.mark.parametrize("order", [sort_quantiles, pool_adjacent_violators])
@given(values=rows, y=outcomes)
def test_sorting_and_pooling_never_worsen_the_score(
    order: Callable[[np.ndarray], np.ndarray], values: np.ndarray, y: np.ndarray
) -> None:
    """The weighted interval score of no row grows, whatever the outcome."""
    before = weighted_interval_score(y, values, LEVELS)
    after = weighted_interval_score(y, order(values), LEVELS)
    assert (after <= before + 1e-9).all()


def test_cutting_off_may_worsen_the_score() -> None:
    """One upper quantile that is far off drags those above it along."""
    values, y = np.array([[-2.0, -1.0, 0.0, 9.0, 2.0]]), np.zeros(1)
    found = min_max_from_median(values, 2)
    np.testing.assert_array_equal(found, [[-2, -1, 0, 9, 9]])
    assert sum_of_losses(y, found) > sum_of_losses(y, values)


def test_pooling_is_isotonic_regression(rng: np.random.Generator) -> None:
    """It agrees with another implementation, to rounding, row by row and for stacked rows."""
    values = rng.standard_normal((50, 7))
    expected = np.array([isotonic_regression(row).x for row in values])
    np.testing.assert_allclose(pool_adjacent_violators(values), expected, atol=1e-12)
    stacked = pool_adjacent_violators(values.reshape(5, 10, 7))
    np.testing.assert_allclose(stacked.reshape(50, 7), expected, atol=1e-12)


def test_published_comparison_is_met() -> None:
    """On noisy normal quantiles sorting gains, cutting off loses, by the figures known for it."""
    rng, levels = np.random.default_rng(0), np.arange(1, 100) / 100
    walk = 0.05 * np.cumsum(rng.standard_normal((20_000, 99)), axis=1)
    values = walk + ndtri(levels) + 0.3 * rng.standard_normal((20_000, 99))
    y = rng.standard_normal(20_000)
    before, after, cut = (
        pinball_loss(y, found, levels).sum(axis=1)
        for found in (values, sort_quantiles(values), min_max_from_median(values, 49))
    )
    assert (after <= before + 1e-9).all()
    assert int((cut > before + 1e-9).sum()) == 11_199
    found = [before.mean(), after.mean(), cut.mean()]
    np.testing.assert_allclose(found, [31.21, 29.85, 31.59], atol=0.006)
    pooled = pool_adjacent_violators(values[:2000])
    assert (pinball_loss(y[:2000], pooled, levels).sum(axis=1) <= before[:2000] + 1e-9).all()
