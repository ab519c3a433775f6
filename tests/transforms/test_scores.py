from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from transforms.scores import (
    interval_coverage,
    interval_misses,
    pinball_loss,
    pit_values,
    weighted_interval_score,
    winkler_score,
)

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NUMBERS = st.floats(-1e6, 1e6)


def test_pinball_weighs_misses_by_level() -> None:
    """At level .9, one unit above the quantile costs .9 and one unit below costs .1."""
    loss = pinball_loss([1.0, -1.0], [[0.0], [0.0]], [0.9])
    np.testing.assert_allclose(loss, [[0.9], [0.1]])


def test_pinball_is_smallest_at_the_quantile(rng: np.random.Generator) -> None:
    """The mean loss over draws is lowest at their empirical quantile."""
    y = rng.gamma(2.0, size=4001)
    grid = np.linspace(0, 10, 501)
    mean = [pinball_loss(y, np.full((len(y), 1), g), [0.8]).mean() for g in grid]
    assert abs(grid[int(np.argmin(mean))] - np.quantile(y, 0.8)) < 0.03


def test_weighted_interval_score_counts_the_median_half() -> None:
    """WIS equals the interval form with weight ½ on |y − median| (worked example: 1.34)."""
    y, q = np.array([5.2]), np.array([[1.0, 2.0, 2.5, 4.0, 7.0]])
    intervals = 0.05 * winkler_score(y, q[:, 0], q[:, 4], 0.9) + 0.25 * winkler_score(
        y, q[:, 1], q[:, 3], 0.5
    )
    wis = weighted_interval_score(y, q, LEVELS)
    np.testing.assert_allclose(wis, (0.5 * np.abs(y - 2.5) + intervals) / 2.5)
    np.testing.assert_allclose(wis, 1.34)


@given(arrays(np.float64, (3, 5), elements=NUMBERS), arrays(np.float64, 3, elements=NUMBERS))
def test_sorting_never_worsens_the_weighted_interval_score(
    quantiles: np.ndarray, outcome: np.ndarray
) -> None:
    """Sorting the quantiles of a row leaves its WIS equal or lower."""
    before = weighted_interval_score(outcome, quantiles, LEVELS)
    after = weighted_interval_score(outcome, np.sort(quantiles, axis=1), LEVELS)
    assert (after <= before + 1e-6 * (1 + np.abs(before))).all()


def test_winkler_equals_the_pinball_losses_of_both_ends(rng: np.random.Generator) -> None:
    """IS = (2/α)(ψ_{α/2} + ψ_{1−α/2})."""
    y, ends = rng.normal(size=200), np.sort(rng.normal(size=(200, 2)), axis=1)
    direct = winkler_score(y, ends[:, 0], ends[:, 1], 0.8)
    np.testing.assert_allclose(direct, 10 * pinball_loss(y, ends, [0.1, 0.9]).sum(axis=1))


def test_misses_tell_below_from_above() -> None:
    """The interval is closed; outcomes below and above are told apart."""
    below, above = interval_misses([0.0, 1.0, 2.0, 3.0], np.ones(4), np.full(4, 2.0))
    assert below.tolist() == [True, False, False, False]
    assert above.tolist() == [False, False, False, True]


def test_coverage_leaves_out_missing_outcomes() -> None:
    """Rows without an outcome do not count."""
    assert interval_coverage([0.5, np.nan, 5.0], np.zeros(3), np.ones(3)) == 0.5
    assert np.isnan(interval_coverage([np.nan], [0.0], [1.0]))


def test_pit_interpolates_between_levels() -> None:
    """Between two quantiles the PIT is linear; on a quantile it is its level."""
    q = np.tile([0.0, 1.0, 2.0, 3.0, 4.0], (3, 1))
    np.testing.assert_allclose(pit_values([0.5, 2.0, 4.0], q, LEVELS), [0.15, 0.5, 0.95])


def test_pit_of_an_atom_is_in_the_middle_of_its_jump() -> None:
    """Where quantiles tie, an outcome on them gets the middle of the levels it spans."""
    value = pit_values([0.0, 0.0], [[0, 0, 0, 1, 2], [-1, -1, 0, 0, 0]], LEVELS)
    np.testing.assert_allclose(value, [0.275, 0.725])


def test_pit_tails_are_continuous_and_inside_the_unit_interval() -> None:
    """Far tails stay inside [0, 1], decrease outwards, and meet the outermost levels."""
    q = np.tile([0.0, 1.0, 2.0, 3.0, 4.0], (6, 1))
    value = pit_values([-1e9, -1.0, -1e-9, 4 + 1e-9, 5.0, 1e9], q, LEVELS)
    assert (np.diff(value) >= 0).all()
    np.testing.assert_allclose(value[[0, 2, 3, 5]], [0, 0.05, 0.95, 1], atol=1e-6)
    assert 0 < value[1] < 0.05
    assert 0.95 < value[4] < 1


@given(
    arrays(np.float64, (4, 5), elements=st.integers(-3, 3).map(float)),
    arrays(np.float64, 4, elements=st.integers(-5, 5).map(float)),
)
def test_pit_is_bounded_and_grows_with_the_outcome(
    quantiles: np.ndarray, outcome: np.ndarray
) -> None:
    """PIT values lie in [0, 1] whatever ties there are, and do not fall as the outcome grows."""
    q = np.sort(quantiles, axis=1)
    low, high = pit_values(outcome, q, LEVELS), pit_values(outcome + 0.5, q, LEVELS)
    assert ((low >= 0) & (high <= 1) & (low <= high + 1e-12)).all()


def test_pit_of_a_true_forecast_is_uniform(rng: np.random.Generator) -> None:
    """Between the outermost levels, deciles of the PIT hold a tenth of the outcomes each."""
    levels = np.arange(0.05, 1, 0.05)
    y = rng.uniform(size=20_000)
    share = np.histogram(pit_values(y, np.tile(levels, (len(y), 1)), levels), 10, (0, 1))[0]
    np.testing.assert_allclose(share / len(y), 0.1, atol=4 * np.sqrt(0.09 / len(y)))


def test_shapes_that_do_not_fit_are_named() -> None:
    """Quantiles of another shape than outcomes and levels are refused."""
    with pytest.raises(ValueError, match=r"\(n,\), \(n, k\) and k"):
        pinball_loss([1.0, 2.0], [[1.0, 2.0]], [0.5])
