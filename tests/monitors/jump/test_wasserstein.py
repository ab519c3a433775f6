from __future__ import annotations

import numpy as np

from monitors.jump.wasserstein import (
    frechet_mean,
    monotone,
    quantile_functions,
    squared_distance,
)

LEVELS = np.linspace(0.01, 0.99, 99)


def test_quantiles_are_numpys_of_each_sample(rng: np.random.Generator) -> None:
    """Samples of different sizes, each with its own quantiles."""
    samples = [rng.normal(size=size) for size in (1, 7, 50)]
    found = quantile_functions(samples, LEVELS)
    assert found.shape == (3, 99)
    np.testing.assert_allclose(found[2], np.quantile(samples[2], LEVELS))
    assert np.all(found[0] == samples[0])


def test_projection_is_the_nearest_function_that_does_not_fall(rng: np.random.Generator) -> None:
    """No other rising function, of many tried, is nearer; a rising one stays as it is."""
    function = rng.normal(size=20)
    nearest = monotone(function)
    assert np.all(np.diff(nearest) >= 0.0)
    own = ((nearest - function) ** 2).sum()
    for _ in range(200):
        other = np.sort(nearest + 0.1 * rng.normal(size=20))
        assert ((other - function) ** 2).sum() >= own
    rising = np.sort(function)
    np.testing.assert_array_equal(monotone(rising), rising)


def test_distance_of_normal_laws_is_that_of_their_means_and_deviations() -> None:
    """W₂² of N(0, 1) and N(1, 4) is 1 + 1, but for the tails beyond the levels."""
    from scipy.special import ndtri

    levels = np.linspace(0.0005, 0.9995, 1000)
    one, other = ndtri(levels), 1.0 + 2.0 * ndtri(levels)
    assert abs(float(squared_distance(one, other, levels)) - 2.0) < 0.03


def test_mean_minimises_the_weighted_squared_distances(rng: np.random.Generator) -> None:
    """With weights of which one is negative, as those of a local line are."""
    functions = np.sort(rng.normal(size=(4, 99)), axis=1)
    weights = np.array([0.5, 0.4, 0.3, -0.2])
    mean = frechet_mean(weights, functions)
    own = float(weights @ squared_distance(functions, mean, LEVELS))
    for _ in range(100):
        other = np.sort(mean + 0.05 * rng.normal(size=99))
        assert float(weights @ squared_distance(functions, other, LEVELS)) >= own
