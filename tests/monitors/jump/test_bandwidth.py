from __future__ import annotations

import numpy as np
import pytest

from monitors.encoder import FloatArray
from monitors.jump.bandwidth import (
    cross_validated,
    density_at,
    least_bandwidth,
    mean_square_optimal,
    silverman,
)
from tests.monitors.jump.streams import around, autoregression, published

LEVELS = np.linspace(0.05, 0.95, 19)


def curved(rng: np.random.Generator, n: int, bend: float) -> tuple[FloatArray, FloatArray]:
    """Return units whose level bends away from the cutoff, one way on either side."""
    x = rng.uniform(-1.0, 1.0, size=n)
    level = bend * x**2 * np.sign(x) + 0.2 * rng.normal(size=n)
    return x, level[:, None] + np.linspace(-1.0, 1.0, 19)


@pytest.mark.parametrize("rule", [cross_validated, mean_square_optimal])
def test_more_curvature_makes_the_bandwidth_shorter(rng: np.random.Generator, rule: object) -> None:
    """A strong bend asks for a shorter bandwidth than a straight line."""
    assert callable(rule)
    straight, bent = (rule(*curved(rng, 300, bend), LEVELS) for bend in (0.0, 12.0))
    assert bent < 0.7 * straight


def test_dependence_makes_the_bandwidth_longer(rng: np.random.Generator) -> None:
    """The long-run variance, not that of one period, is what is weighed against the bias."""
    x = around(100)
    wave = 2.0 * np.sin(x / 40.0)
    functions = (wave + autoregression(rng, 200, 0.8))[:, None] + np.linspace(-1.0, 1.0, 19)
    alone = mean_square_optimal(x, functions, LEVELS)
    assert mean_square_optimal(x, functions, LEVELS, serial=True) > 1.1 * alone


def test_least_bandwidth_holds_its_units(rng: np.random.Generator) -> None:
    """On the side that has fewer, at least as many as asked for."""
    distance = np.concatenate([-rng.uniform(size=100), rng.uniform(size=20)])
    width = least_bandwidth(distance, 8)
    assert (distance[distance >= 0.0] < width).sum() >= 8


def test_density_of_uniform_units_is_one(rng: np.random.Generator) -> None:
    """In the middle of U(0, 1)."""
    x, _ = published(rng, 2000, 0.0, LEVELS)
    assert density_at(x - 0.5, silverman(x - 0.5)) == pytest.approx(1.0, abs=0.1)
