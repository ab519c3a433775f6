from __future__ import annotations

import numpy as np

from monitors.jump.periods import MOST_PERIODS, Periods, cut_periods, nearest, without_season

LEVELS = np.linspace(0.05, 0.95, 19)


def test_each_period_has_the_quantiles_of_its_values(rng: np.random.Generator) -> None:
    """Rows in any order, one period of which begins at the cutoff; NaN is no value."""
    times = rng.permutation(np.arange(-50, 1000))
    values = rng.normal(size=1050)
    values[times == 5] = np.nan
    found = cut_periods(times, values, 450, 100, LEVELS)
    assert list(found.x) == [-4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert found.sides == (5, 6)
    assert found.rows.sum() == 1049
    own = values[(times >= 450) & (times < 550)]
    np.testing.assert_allclose(found.functions[5], np.quantile(own, LEVELS))


def test_periods_with_few_values_are_left_out(rng: np.random.Generator) -> None:
    """The first and the last of the data, where they are cut short."""
    times = np.arange(60, 930)
    found = cut_periods(times, rng.normal(size=len(times)), 500, 100, LEVELS)
    assert list(found.x) == [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]


def test_nothing_gives_no_period() -> None:
    """No value at all."""
    found = cut_periods(np.arange(10), np.full(10, np.nan), 5, 2, LEVELS)
    assert found.sides == (0, 0)


def test_season_is_that_of_the_time_before(rng: np.random.Generator) -> None:
    """A cycle of six periods goes, a jump and the level stay; what comes after does not count."""
    x = np.arange(-60, 30, dtype=np.float64) + 0.5
    cycle = np.array([0.0, 3.0, 5.0, 2.0, -4.0, -6.0])
    level = 10.0 + cycle[np.floor(x).astype(int) % 6] + 7.0 * (x > 0.0)
    periods = Periods(x, np.tile(level[:, None], (1, 19)), np.ones(90, dtype=np.int64))
    found = without_season(periods, 6).functions[:, 0]
    np.testing.assert_allclose(found, np.where(x > 0.0, 17.0, 10.0))
    later = Periods(
        x, periods.functions + rng.normal(size=(90, 1)) * (x > 0.0)[:, None], periods.rows
    )
    np.testing.assert_array_equal(without_season(later, 6).functions[x < 0.0][:, 0], found[x < 0.0])


def test_nearest_periods_are_kept() -> None:
    """At most so many of a side."""
    x = np.arange(-1000, 20, dtype=np.float64) + 0.5
    found = nearest(Periods(x, np.zeros((1020, 19)), np.ones(1020, dtype=np.int64)))
    assert found.sides == (MOST_PERIODS, 20)
    assert found.x[0] == -MOST_PERIODS + 0.5


def test_a_trend_is_no_season() -> None:
    """A straight line and a cycle that begins at the cutoff: the line is left as it was."""
    x = np.arange(-239.5, 120.0)
    line = 0.2 * x[:, None] + LEVELS
    cycle = 5.0 * np.sin(2.0 * np.pi * x / 24.0)[:, None]
    left = without_season(Periods(x, line + cycle, np.full(360, 9)), 24).functions
    np.testing.assert_allclose(left, line, atol=1e-9)
