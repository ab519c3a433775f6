from __future__ import annotations

import numpy as np
import pytest

from monitors.jump.jump_test import jump_test
from tests.monitors.jump.streams import dependent, published

LEVELS = np.linspace(0.01, 0.99, 99)


def rejections(
    rng: np.random.Generator, n: int, jump: float, runs: int, bandwidth: float | None = 0.2
) -> int:
    """Return in how many of some simulations the test rejects at 5 %."""
    found = 0
    for _ in range(runs):
        x, functions = published(rng, n, jump, LEVELS)
        result = jump_test(x, functions, 0.5, levels=LEVELS, bandwidth=bandwidth)
        found += result.p_value < 0.05
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("n", "jump", "power"), [(200, 0.25, 0.79), (500, 0.25, 0.985)])
def test_power_is_the_published_one(
    rng: np.random.Generator, n: int, jump: float, power: float
) -> None:
    """Within 3.5 binomial errors of 200 runs."""
    runs = 200
    error = np.sqrt(power * (1.0 - power) / runs)
    assert abs(rejections(rng, n, jump, runs) / runs - power) < 3.5 * error + 1.0 / runs


@pytest.mark.slow
@pytest.mark.parametrize(("bandwidth", "runs"), [(0.2, 200), (None, 60)])
def test_size_is_at_most_nominal(
    rng: np.random.Generator, bandwidth: float | None, runs: int
) -> None:
    """Of the runs without a jump at most 5 % and 3.5 errors reject; cross-validated, too."""
    most = 0.05 * runs + 3.5 * np.sqrt(runs * 0.05 * 0.95)
    assert rejections(rng, 150, 0.0, runs, bandwidth) <= most


def test_large_jump_is_found_and_its_size_told(rng: np.random.Generator) -> None:
    """A jump of 1.5 of the means: both mean functions, and no jump of the variances."""
    x, functions = published(rng, 200, 1.5, LEVELS)
    found = jump_test(x, functions, 0.5, levels=LEVELS)
    assert found.p_value < 1e-6
    assert float((found.after - found.before).mean()) == pytest.approx(1.5, abs=0.2)
    assert max(found.variance_before, found.variance_after) < 0.1
    assert min(found.units) > 10


def test_jump_of_the_variation_alone_is_found(rng: np.random.Generator) -> None:
    """Units whose means scatter four times as far after the cutoff, about the same mean."""
    x = rng.uniform(size=400)
    means = rng.normal(size=400) * np.where(x >= 0.5, 4.0, 1.0)
    functions = means[:, None] + np.linspace(-1.0, 1.0, 99)
    found = jump_test(x, functions, 0.5, levels=LEVELS, bandwidth=0.3)
    assert found.p_value < 1e-3
    assert found.variance_after > 5.0 * found.variance_before


def test_statistic_is_the_formulas(rng: np.random.Generator) -> None:
    """Computed anew from the notes' symbols on a small sample."""
    x, functions = published(rng, 60, 0.5, LEVELS)
    found = jump_test(x, functions, 0.5, levels=LEVELS, bandwidth=0.3)
    h, n, d = 0.3, 60, x - 0.5
    kernel = np.where(np.abs(d) < h, 0.75 * (1.0 - (d / h) ** 2), 0.0) / h
    sides = {}
    pooled = np.zeros(n)
    for name, side in (("left", d < 0.0), ("right", d >= 0.0)):
        own = kernel * side
        m0, m1, m2 = ((own * d**power).sum() for power in range(3))
        s = own * (m2 - m1 * d) / (m0 * m2 - m1**2)
        mean = s @ functions
        squares = np.trapezoid((functions - mean) ** 2, LEVELS, axis=1)
        variance = s @ squares
        spread = np.abs(s) @ (squares - variance) ** 2 / np.abs(s).sum()
        sides[name] = variance, spread, np.abs(s).sum()
        pooled += s / 2.0
    common = pooled @ functions
    fold = pooled @ np.trapezoid((functions - common) ** 2, LEVELS, axis=1)
    fold -= (sides["left"][0] + sides["right"][0]) / 2.0
    share = sides["right"][2] / (sides["left"][2] + sides["right"][2])
    iqr = float(np.subtract(*np.quantile(d, [0.75, 0.25])))
    width = 0.9 * min(d.std(ddof=1), iqr / 1.34) * n**-0.2
    density = np.exp(-0.5 * (d / width) ** 2).mean() / (width * np.sqrt(2 * np.pi))
    scale = (56_832 / 12_635) * (sides["left"][1] + sides["right"][1]) / density
    gap = sides["right"][0] - sides["left"][0]
    expected = n * h * (gap**2 / scale + fold**2 / (share * (1.0 - share) * scale))
    assert found.statistic == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_serial_size_is_at_most_nominal(rng: np.random.Generator) -> None:
    """Periods with an autocorrelation of 0.8: at most 5 % and 3.5 errors of 150 runs reject."""
    levels = np.linspace(0.05, 0.95, 19)
    rejected = 0
    for _ in range(150):
        x, functions = dependent(rng, 60, 0.8, levels)
        found = jump_test(x, functions, 0.0, levels=levels, bandwidth=40.0, serial=True)
        rejected += found.p_value < 0.05
    assert rejected <= 7.5 + 3.5 * np.sqrt(150 * 0.05 * 0.95)


def test_dependence_makes_the_statistic_smaller(rng: np.random.Generator) -> None:
    """φ = 0.9: the same jump says far less; φ = 0: nearly as much as of independent units."""
    levels = np.linspace(0.05, 0.95, 19)
    parts = []
    for phi in (0.9, 0.0):
        x, functions = dependent(rng, 100, phi, levels)
        functions += 3.0 * (x > 0.0)[:, None]
        found, alone = (
            jump_test(x, functions, 0.0, levels=levels, bandwidth=60.0, serial=serial).statistic
            for serial in (True, False)
        )
        parts.append(found / alone)
    assert parts[0] < 0.1
    assert parts[1] > 0.3


def test_too_few_units_are_refused(rng: np.random.Generator) -> None:
    """A bandwidth that holds no unit of a side is an error that says so."""
    x, functions = published(rng, 50, 0.0, LEVELS)
    with pytest.raises(ValueError, match="are too few"):
        jump_test(x, functions, 0.5, levels=LEVELS, bandwidth=1e-6)
