from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import signal

from transforms.slices import WIDTH, coverage_slices, design_effect

Z90 = 1.6448536269514722


def test_the_slice_that_fails_is_named_first(rng: np.random.Generator) -> None:
    """Intervals right on average, too narrow where x is high: that fifth, with its coverage."""
    x = rng.uniform(size=4000)
    scale = np.where(x > 0.8, 1.6, 0.8)
    y, half = scale * rng.normal(size=4000), np.full(4000, 1.6)
    found = coverage_slices(pl.DataFrame({"x": x, "other": x[::-1]}), y, -half, half, 0.9)
    worst = found[0]
    assert worst.column == "x"
    assert worst.p_value < 1e-6
    assert float(worst.value.split(" to ")[0]) == pytest.approx(0.8, abs=0.02)
    assert worst.coverage == pytest.approx(0.683, abs=4 * np.sqrt(0.22 / worst.rows))
    assert min(one.p_value for one in found if one.column == "other") > 0.001


def test_calibrated_slices_alarm_as_rarely_as_one_test(rng: np.random.Generator) -> None:
    """Eight columns, 200 tables without fault: at most 5 % have any slice below .05."""
    trials, rows, alarms = 200, 300, 0
    for _ in range(trials):
        columns = pl.DataFrame(rng.normal(size=(rows, 8)))
        half = Z90 * np.ones(rows)
        alarms += (
            coverage_slices(columns, rng.normal(size=rows), -half, half, 0.9)[0].p_value < 0.05
        )
    assert alarms <= trials * 0.05 + 4 * np.sqrt(trials * 0.05 * 0.95)


def test_memory_is_allowed_for(rng: np.random.Generator) -> None:
    """Misses that come in runs count for less: calibrated AR(1) intervals raise few alarms."""
    trials, rows, alarms = 100, 1000, 0
    for _ in range(trials):
        y = signal.lfilter([0.6], [1.0, -0.8], rng.normal(size=rows + 100))[100:]
        half = Z90 * np.ones(rows)
        day = pl.DataFrame({"time": np.arange(rows)})
        alarms += coverage_slices(day, y, -half, half, 0.9)[0].p_value < 0.05
    assert alarms <= trials * 0.05 + 4 * np.sqrt(trials * 0.05 * 0.95)


def test_design_effect_is_one_for_independent_rows(rng: np.random.Generator) -> None:
    """Independent misses weigh one each; misses that come four at a time weigh a quarter."""
    single = rng.uniform(size=20_000) < 0.1
    assert design_effect(single, 0.1) < 1.2
    assert design_effect(np.repeat(single[:5000], 4), 0.1) == pytest.approx(4, rel=0.25)


def test_every_row_is_in_one_slice_of_each_column(rng: np.random.Generator) -> None:
    """Missing values, rare categories and ties: the slices of a column add up to its rows."""
    n = 3000
    number = np.where(rng.uniform(size=n) < 0.4, 0.0, rng.integers(0, 9, n).astype(float))
    table = pl.DataFrame(
        {
            "number": pl.Series(number).set(pl.Series(rng.uniform(size=n) < 0.1), None),
            "text": pl.Series([f"v{k}" for k in np.minimum(rng.geometric(0.04, n), 40)]),
            "flag": rng.uniform(size=n) < 0.5,
        }
    )
    half = rng.uniform(1, 2, n)
    found = coverage_slices(table, rng.normal(size=n), -half, half, 0.9)
    rows = {
        name: sum(s.rows for s in found if s.column == name) for name in (*table.columns, WIDTH)
    }
    assert rows == {"number": n, "text": n, "flag": n, WIDTH: n}
    widths = [s.width for s in found if s.column == WIDTH]
    assert max(widths) > 1.5 * min(widths)


def test_rows_without_an_outcome_are_left_out(rng: np.random.Generator) -> None:
    """An outcome that is not known is neither a hit nor a miss; infinite intervals cover."""
    y = np.where(np.arange(600) % 2 == 0, np.nan, 0.0)
    lower, upper = np.full(600, -np.inf), np.full(600, np.inf)
    (one,) = coverage_slices(pl.DataFrame({"g": ["a"] * 400 + ["b"] * 200}), y, lower, upper, 0.9)[
        :1
    ]
    assert one.rows in {200, 100}
    assert (one.coverage, one.width) == (1.0, np.inf)


def test_covering_more_than_said_is_no_fault(rng: np.random.Generator) -> None:
    """Intervals that hold all outcomes, as those of a point mass do, raise no alarm."""
    found = coverage_slices(
        pl.DataFrame({"x": rng.normal(size=500)}), np.zeros(500), np.zeros(500), np.ones(500), 0.9
    )
    assert {one.p_value for one in found} == {1.0}
