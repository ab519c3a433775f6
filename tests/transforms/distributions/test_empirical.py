from __future__ import annotations

import numpy as np
import pytest

from transforms.distributions import empirical
from transforms.forecast.empirical import sample_quantiles


def test_crps_is_the_energy_form(rng: np.random.Generator) -> None:
    """E|X − y| − ½ E|X − X'| over all pairs of each row's sample."""
    sample = np.sort(rng.normal(size=(4, 7)), axis=1)
    y = rng.normal(size=4)
    pairs = np.abs(sample[:, :, None] - sample[:, None, :]).mean(axis=(1, 2))
    expected = np.abs(sample - y[:, None]).mean(axis=1) - 0.5 * pairs
    np.testing.assert_allclose(empirical.crps(y, sample), expected)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_quantiles_are_those_of_climatology(count: int, rng: np.random.Generator) -> None:
    """The rank (k + 1) p of `sample_quantiles`, of one sample or of one in each row."""
    sample, levels = np.sort(rng.normal(size=(3, count)), axis=1), np.array([0.01, 0.3, 0.5, 0.99])
    found = empirical.quantile(levels, sample)
    for own, row in zip(sample, found, strict=True):
        np.testing.assert_allclose(row, sample_quantiles(own, levels), atol=1e-12)
    np.testing.assert_array_equal(empirical.quantile(levels, sample[0]), found[0])


def test_distribution_function_counts_ties() -> None:
    """The share at or below, with one sample for all rows or one for each; mean and variance."""
    sample = np.array([0.0, 0.0, 1.0, 3.0])
    np.testing.assert_array_equal(empirical.cdf([-1.0, 0.0, 2.0], sample), [0.0, 0.5, 0.75])
    np.testing.assert_array_equal(empirical.cdf([0.0, 3.0], np.stack([sample, sample])), [0.5, 1.0])
    assert float(empirical.mean(sample)) == 1.0
    assert float(empirical.variance(sample)) == 1.5
