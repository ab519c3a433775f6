"""Densities before and after."""

from __future__ import annotations

import numpy as np
import pytest

from monitors.cause.density import LEAST_ROWS, densities


def test_densities_are_those_of_the_laws(rng: np.random.Generator) -> None:
    """Each integrates to one, and is near the normal density that it was drawn from."""
    found = densities(rng.standard_normal(4000), rng.normal(3.0, 0.5, 4000))
    assert found is not None
    step = found.grid[1] - found.grid[0]
    for density, mean, sd in ((found.before, 0.0, 1.0), (found.after, 3.0, 0.5)):
        assert density.sum() * step == pytest.approx(1.0, abs=0.02)
        law = np.exp(-0.5 * ((found.grid - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
        # Silverman's bandwidth of 4,000 rows flattens the top by a hundredth or two.
        assert np.abs(density - law).max() < 0.08 / sd


def test_one_wild_value_does_not_stretch_the_grid(rng: np.random.Generator) -> None:
    """The grid reaches as far as 99 of 100 values do."""
    values = rng.standard_normal(2000)
    wild = np.append(values, 1e9)
    found = densities(values, wild)
    assert found is not None
    assert found.grid[-1] < 10


def test_stuck_sensor_has_a_peak(rng: np.random.Generator) -> None:
    """One value has a density on the grid: a peak where it is, not nothing."""
    found = densities(rng.standard_normal(500), np.full(100, 2.0))
    assert found is not None
    assert found.grid[int(np.argmax(found.after))] == pytest.approx(2.0, abs=0.1)
    assert found.after.sum() * (found.grid[1] - found.grid[0]) == pytest.approx(1.0, abs=0.05)


def test_too_little_to_draw_is_nothing(rng: np.random.Generator) -> None:
    """Few rows, or one value on both sides, have no density."""
    values = rng.standard_normal(100)
    assert densities(values, values[: LEAST_ROWS - 1]) is None
    assert densities(np.ones(50), np.ones(50)) is None
