from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.transforms.forecast.panel.daily import WEEK, daily, sales, stream
from transforms.forecast.panel.design import Design, design_of
from transforms.forecast.panel.frame import panel_frame
from transforms.forecast.panel.grid import read_panel
from transforms.forecast.panel.past import OwnPast, Typical, own_past, typical_of

TYPICAL = Typical(share=0.5, scale=2.0)
SEASONS = 4


def design() -> Design:
    """Return what is read over four weeks."""
    asked = stream()
    return design_of(asked, asked.forecasts[0], seasons=SEASONS)


def past_of(values: NDArray[np.float64]) -> OwnPast:
    """Read the last four weeks of series, shape (series, 28), for seven days."""
    steps = np.tile(np.arange(1, WEEK + 1), (len(values), 1))
    return own_past(values, steps, design(), TYPICAL)


@given(seed=st.integers(0, 2**16), after=st.integers(1, 20))
def test_nothing_after_the_issue_is_read(seed: int, after: int) -> None:
    """Other values after the issue change no feature, centre or scale."""
    rng = np.random.default_rng(seed)
    values = sales(2, 50, rng)
    other = values.copy()
    other[:, -after:] = rng.normal(size=(2, after)) * 1e6
    steps = np.tile(np.arange(1, WEEK + 1), (2, 1))
    frames = []
    for each in (values, other):
        panel = read_panel(daily(each), design())
        issue = panel.first + 49 - after
        frames.append(panel_frame(panel, np.arange(2), issue, steps, design(), TYPICAL))
    assert frames[0].features.equals(frames[1].features)
    assert np.array_equal(frames[0].centre, frames[1].centre)
    assert np.array_equal(frames[0].scale, frames[1].scale)


def test_centre_of_a_pure_season_is_the_season(rng: np.random.Generator) -> None:
    """Level and profile without noise are forecast exactly, two weeks ahead as well."""
    profile = rng.normal(size=WEEK)
    values = 5 + np.tile(profile, SEASONS)[None]
    steps = np.arange(1, 2 * WEEK + 1)[None]
    past = own_past(values, steps, replace(design(), horizon=14), TYPICAL)
    assert past.centre[0] == pytest.approx(5 + np.tile(profile, 2))


def test_missing_days_do_not_bend_the_season(rng: np.random.Generator) -> None:
    """With a tenth of the days missing the centre stays within 2 % of the season's range."""
    profile = 10.0 * np.arange(WEEK)
    values = np.tile(profile, (50, SEASONS))
    values[rng.random(values.shape) < 0.1] = np.nan
    assert np.abs(past_of(values).centre - profile).max() < 0.02 * np.ptp(profile)


@given(power=st.integers(-20, 20), seed=st.integers(0, 2**16))
def test_unit_of_the_target_does_not_matter(power: int, seed: int) -> None:
    """Values in another unit (a power of 2: exact) have the same features, centre and scale."""
    values = sales(3, SEASONS * WEEK, np.random.default_rng(seed))
    one, other = past_of(values), past_of(values * 2.0**power)
    assert np.array_equal(other.centre, one.centre * 2.0**power)
    assert np.array_equal(other.scale, one.scale * 2.0**power)
    for name, column in one.columns.items():
        assert np.array_equal(other.columns[name], column, equal_nan=True), name


@pytest.mark.parametrize(
    ("values", "centre", "scale"),
    [
        (np.full(28, 6.0), 6.0, 3 * 5 / 26),  # constant: 21 differences of 0, 5 of half the level
        (np.zeros(28), 0.0, 2 * 5 / 26),  # zero: 5 of the usual scale
        (np.r_[np.full(27, np.nan), 6.0], 6.0, 3.0),  # one value, no difference
        (np.full(28, np.nan), np.nan, 2.0),  # none
        (np.r_[np.full(14, np.nan), np.arange(14.0)], 6.5, (7 * 7 + 5 * 3.25) / 12),
    ],
)
def test_scale_is_drawn_to_the_usual_one(
    values: NDArray[np.float64], centre: float, scale: float
) -> None:
    """Constant, zero, short and empty series have a positive scale, and no infinite feature."""
    past = past_of(values[None])
    assert past.centre[0].mean() == pytest.approx(centre, nan_ok=True)
    assert past.scale[0] == pytest.approx(scale)
    assert not any(np.isinf(column).any() for column in past.columns.values())


def test_typical_scale_is_the_median_of_the_series_own(rng: np.random.Generator) -> None:
    """Series without any difference say nothing of what is typical; without others, it is 1."""
    values = np.r_[sales(4, SEASONS * WEEK, rng), np.full((3, SEASONS * WEEK), 7.0)]
    steps = np.ones((7, 1), np.int64)
    alone = own_past(values, steps, design(), None)
    typical = typical_of(alone)
    assert np.isnan(alone.scale[4:]).all()
    assert typical.scale == pytest.approx(np.median(alone.scale[:4]))
    shares = alone.scale[:4] / np.nanmean(values[:4], axis=1)
    assert shares.min() < typical.share < shares.max()
    assert typical_of(own_past(values[4:], steps[4:], design(), None)) == Typical(0.0, 1.0)


def test_lags_and_spans_that_are_asked_for_are_read(rng: np.random.Generator) -> None:
    """`lags` and `rolling` replace the usual ones, and reach back beyond the seasons if need be."""
    asked = stream(lags=["2d"], rolling=["35d"])
    wanted = design_of(asked, asked.forecasts[0], seasons=SEASONS)
    assert wanted.history_steps == 35
    values = np.full((1, 35), 4.0) + rng.normal(size=(1, 35))
    past = own_past(values, np.ones((1, 1), np.int64), wanted, TYPICAL)
    assert [n for n in past.columns if n.startswith(("lag", "mean"))] == ["lag 2", "mean 35"]
    moved = values.copy()
    moved[0, -2] += past.scale[0]  # two days before the first step that is forecast
    again = own_past(moved, np.ones((1, 1), np.int64), wanted, TYPICAL)
    step = (again.columns["lag 2"] * again.scale - past.columns["lag 2"] * past.scale)[0, 0]
    assert step > 0.4 * past.scale[0]
    earliest = values.copy()
    earliest[0, 0] += 35
    again = own_past(earliest, np.ones((1, 1), np.int64), wanted, TYPICAL)
    assert again.columns["mean 35"][0, 0] > past.columns["mean 35"][0, 0]
