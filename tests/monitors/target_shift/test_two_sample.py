"""Tests of the kernel tests of two samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitors.target_shift.two_sample import (
    _permuted,
    equal_strata,
    median_kernel,
    p_given,
    p_moved,
    residual_kernel,
)


def test_permutations_keep_the_sides_of_each_stratum(rng: np.random.Generator) -> None:
    """Every stratum has as many rows of the window as before, in another order."""
    strata = rng.integers(0, 4, 60)
    side = (rng.random(60) < 0.3 + 0.1 * strata).astype(np.float64)
    drawn = _permuted(side, strata, rng)
    for stratum in range(4):
        inside = strata == stratum
        np.testing.assert_array_equal(drawn[:, inside].sum(axis=1), side[inside].sum())
    assert (drawn != side).any(axis=1).all()


@pytest.mark.slow
def test_equal_laws_are_told_apart_as_rarely_as_said() -> None:
    """At 5 %, within the binomial law of 1,000 trials (1 in 1,000 on either side)."""
    in_after = np.arange(60) >= 25
    ps = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        ps.append(p_moved(median_kernel(rng.standard_normal((60, 3))), in_after, rng))
    rejected = sum(p <= 0.05 for p in ps)
    low, high = stats.binom.ppf([0.001, 0.999], 1000, 0.05)
    assert low <= rejected <= high, rejected


def test_a_moved_column_is_seen(rng: np.random.Generator) -> None:
    """Half a deviation of one of five columns, in 200 rows against 200."""
    x = rng.standard_normal((400, 5))
    in_after = np.arange(400) >= 200
    x[in_after, 2] += 0.5
    assert p_moved(median_kernel(x), in_after, rng) < 0.02


def test_a_change_of_opposite_signs_is_seen(rng: np.random.Generator) -> None:
    """An error that is up where x > 0 and down elsewhere has no mean, and is found all the same."""
    x = rng.standard_normal((400, 1))
    in_after = np.arange(400) >= 200
    error = rng.standard_normal((400, 1)) + 0.8 * np.sign(x) * in_after[:, None]
    strata = np.zeros(400, np.int64)
    assert p_given(residual_kernel(error, x), in_after, strata, rng) < 0.02


def test_what_the_strata_explain_is_no_change(rng: np.random.Generator) -> None:
    """A column that follows the stratum, whose share of the window differs, is as before."""
    strata = np.repeat(np.arange(10), 40)
    in_after = rng.random(400) < np.linspace(0.1, 0.9, 10)[strata]
    x = strata[:, None] + rng.standard_normal((400, 1))
    kernel = median_kernel(x)
    assert p_moved(kernel, in_after, rng) == 1 / 200
    assert p_given(kernel, in_after, strata, rng) > 0.05


def test_strata_are_of_equal_size_and_in_order(rng: np.random.Generator) -> None:
    """Ten strata of 103 values have 10 or 11 rows each, and larger values later strata."""
    values = rng.standard_normal(103)
    strata = equal_strata(values, 10)
    assert set(np.bincount(strata).tolist()) == {10, 11}
    assert (np.diff(strata[np.argsort(values)]) >= 0).all()
