from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from monitors.jump.memory import MOST, fit_memory, inflation
from tests.monitors.jump.streams import around, autoregression


def mean_phi(rng: np.random.Generator, phi: float, kept: NDArray[np.int64]) -> float:
    """Return the mean estimate over 100 series, of which only the given places are seen."""
    found = []
    for _ in range(100):
        series = autoregression(rng, 120, phi)[:, None]
        found.append(fit_memory((around(60))[kept], series[kept], 2).phi[0])
    return float(np.mean(found))


@pytest.mark.parametrize("phi", [0.0, 0.4, 0.8])
def test_estimate_is_not_drawn_to_zero_by_the_polynomials(
    rng: np.random.Generator, phi: float
) -> None:
    """The mean over 100 series of two quadratics of 60 periods each is within 0.08 of φ."""
    assert abs(mean_phi(rng, phi, np.arange(120)) - phi) < 0.08


def test_gaps_do_not_matter(rng: np.random.Generator) -> None:
    """A third of the periods is missing."""
    kept = np.sort(rng.choice(120, size=80, replace=False))
    assert abs(mean_phi(rng, 0.6, kept) - 0.6) < 0.12


def test_whitened_noise_is_independent_with_its_own_variance(rng: np.random.Generator) -> None:
    """Also across a gap: correlations of neighbours vanish, the variance stays 1."""
    kept = np.delete(np.arange(1000), [300, 301, 302])
    series = autoregression(rng, 1000, 0.7)[kept][:, None]
    memory = fit_memory(around(500)[kept], series, 0)
    fresh = memory.whiten(series, 0)[:, 0]
    assert memory.phi[0] == pytest.approx(0.7, abs=0.08)
    assert abs(np.corrcoef(fresh[1:], fresh[:-1])[0, 1]) < 0.1
    assert fresh.std() == pytest.approx(1.0, abs=0.15)


def test_a_random_walk_has_the_largest_memory_there_is(rng: np.random.Generator) -> None:
    """Its estimate stays below 1, so that everything stays finite."""
    walk = rng.normal(size=(300, 1)).cumsum(axis=0)
    phi = fit_memory(around(150), walk, 0).phi
    assert 0.9 < phi[0] <= MOST + 1e-9
    assert inflation(phi)[0] < 101.0


def test_periods_far_apart_need_no_more_memory(rng: np.random.Generator) -> None:
    """Lags of ten million periods are not gone through one by one, which would take 80 MB."""
    distance = np.concatenate([np.arange(-60.0, 0.0), 1e7 + np.arange(60.0)])
    outcomes = rng.normal(size=(120, 1))
    tracemalloc.start()
    fit_memory(distance, outcomes, 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000
