from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceError
from tests.transforms.forecast.panel.daily import DAY, START, daily, stream
from transforms.forecast.panel.design import Design, design_of
from transforms.forecast.panel.grid import common_phase, read_panel


def design() -> Design:
    """Return what the small stream reads."""
    asked = stream()
    return design_of(asked, asked.forecasts[0])


@given(seed=st.integers(0, 2**16))
def test_order_of_rows_does_not_matter(seed: int) -> None:
    """Rows in any order, some of them twice with other values, give the same series."""
    rng = np.random.default_rng(seed)
    table = daily(rng.normal(size=(3, 9)))
    table = pl.concat([table, table.sample(5, seed=seed).with_columns(pl.col("y") + 1)])
    one = read_panel(table, design())
    other = read_panel(table.sample(fraction=1, shuffle=True, seed=seed), design())
    assert np.array_equal(one.target, other.target)
    assert one.keys.equals(other.keys)


def test_median_of_repeated_rows_counts() -> None:
    """Of three rows at one step the middle one is the series' value."""
    table = daily(np.array([[1.0, 2.0]]))
    table = pl.concat([table, table.with_columns(y=pl.lit(9.0)), table.with_columns(y=pl.lit(4.0))])
    assert read_panel(table, design()).target.tolist() == [4.0, 4.0]


def test_gaps_are_missing() -> None:
    """A step without a row, or with an infinite value, is NaN, and so is one outside the series."""
    values = np.array([[1.0, 2.0, np.inf, 4.0]])
    table = daily(values).filter(pl.col("time") != pl.lit(START + DAY))
    panel = read_panel(table, design())
    places = panel.first[0] + np.arange(-1, 5)
    found = panel.at(np.zeros(6, np.int64), places)
    assert np.array_equal(found, [np.nan, 1, np.nan, np.nan, 4, np.nan], equal_nan=True)


def test_rows_belong_to_the_nearest_step_of_the_common_phase() -> None:
    """Times at 06:00 make a grid at 06:00, and a row 5 hours off still lies on its day."""
    table = daily(np.array([[1.0, 2.0, 3.0]])).with_columns(pl.col("time").dt.offset_by("6h"))
    asked = design()
    phase = common_phase(table, "time", "UTC", asked.step)
    assert phase == 6 * 3600 * 10**6
    moved = table.with_columns(
        pl.when(pl.col("y") == 2).then(pl.col("time").dt.offset_by("5h")).otherwise("time")
    )
    shifted = design_of(stream(), stream().forecasts[0], phase=phase)
    assert read_panel(moved, shifted).target.tolist() == [1.0, 2.0, 3.0]


def test_until_keeps_what_was_known() -> None:
    """A panel cut at a step is the panel of the rows up to it, a later series left empty."""
    table = pl.concat(
        [
            daily(np.arange(6.0)[None]),
            daily(np.ones((1, 6)), 1).filter(pl.col("time") > pl.lit(START)),
        ]
    )
    panel = read_panel(table, design())
    cut = panel.until(int(panel.first[0]))
    assert cut.lengths.tolist() == [1, 0]
    assert cut.target.tolist() == [0.0]
    assert cut.rows.height == 1


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (daily(np.ones((1, 3))).rename({"y": "z"}), "no column 'y'"),
        (daily(np.ones((1, 3))).with_columns(y=pl.lit("a")), "not numbers"),
        (daily(np.ones((1, 3))).with_columns(time=pl.lit(None, pl.Datetime)), "has a time"),
        (
            pl.concat(
                [
                    daily(np.ones((40, 3))),
                    daily(np.ones((40, 1))).with_columns(
                        pl.lit(START - 30_000 * DAY).alias("time")
                    ),
                ]
            ),
            "give a longer `step`",
        ),
    ],
)
def test_table_that_is_no_panel_is_refused(table: pl.DataFrame, said: str) -> None:
    """A missing column, a target of texts, no times and a stray time are each one clear error."""
    with pytest.raises(SourceError, match=said):
        read_panel(table, design())
