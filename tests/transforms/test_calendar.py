from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from schemas.stream import CalendarTerm
from transforms.calendar import calendar_names, calendar_terms

TERMS: tuple[CalendarTerm, ...] = ("hour_of_day", "day_of_week", "day_of_year")


def test_names_match_columns() -> None:
    """There is one name for each column, in order, sine first."""
    times = np.array(["2024-02-29T12:00:00"], "datetime64[s]")
    names = calendar_names(TERMS)
    assert calendar_terms(times, TERMS).shape == (1, len(names))
    assert names[:4] == [
        "hour_of_day_sin1",
        "hour_of_day_cos1",
        "hour_of_day_sin2",
        "hour_of_day_cos2",
    ]
    assert len(names) == 4 + 6 + 4


def test_hour_of_day_is_a_clock() -> None:
    """Six o'clock is a quarter of the day: sine 1, cosine 0; the second harmonic is half way."""
    terms = calendar_terms(np.array(["2024-03-01T06:00"], "datetime64[m]"), ["hour_of_day"])
    np.testing.assert_allclose(terms, [[1, 0, 0, -1]], atol=1e-12)


def test_day_of_week_spans_every_function_of_seven_days() -> None:
    """The six columns and a constant have rank seven, and Mondays have phase 0."""
    days = np.datetime64("2024-01-01") + np.arange(7)  # a Monday
    terms = calendar_terms(days, ["day_of_week"])
    assert np.linalg.matrix_rank(np.column_stack([np.ones(7), terms])) == 7
    np.testing.assert_allclose(terms[0], [0, 1] * 3, atol=1e-12)


def test_day_of_week_is_constant_within_a_day() -> None:
    """Midnight and a second before the next give the same terms, before 1970 too."""
    times = np.array(["1969-12-29T00:00:00", "1969-12-29T23:59:59"], "datetime64[s]")
    terms = calendar_terms(times, ["day_of_week"])
    np.testing.assert_array_equal(terms[0], terms[1])


@pytest.mark.parametrize("year", [2023, 2024])
def test_day_of_year_fills_leap_years_too(year: int) -> None:
    """The year's middle has phase one half, whether it has 365 or 366 days."""
    start, end = np.datetime64(f"{year}-01-01T00"), np.datetime64(f"{year + 1}-01-01T00")
    terms = calendar_terms(np.array([start, start + (end - start) // 2]), ["day_of_year"])
    np.testing.assert_allclose(terms, [[0, 1, 0, 1], [0, -1, 0, 1]], atol=1e-9)


def test_every_kind_of_time_gives_the_same_terms() -> None:
    """Zoned Arrow times, chunked ones, datetime64 and seconds agree to the bit."""
    seconds = np.array([0, 1_700_000_000, 1_709_251_199])
    moments = seconds.astype("datetime64[s]")
    zoned = pa.array(moments).cast(pa.timestamp("us", tz="UTC"))
    paris = pa.array(moments).cast(pa.timestamp("ns", tz="Europe/Paris"))
    wanted = calendar_terms(moments, TERMS)
    for times in (seconds, zoned, paris, pa.chunked_array([zoned[:1], zoned[1:]])):
        np.testing.assert_array_equal(calendar_terms(times, TERMS), wanted)


def test_missing_times_give_missing_terms() -> None:
    """A null time is a row of NaN, and leaves its neighbours alone."""
    times = pa.array([0, None], pa.timestamp("us", tz="UTC"))
    terms = calendar_terms(times, TERMS)
    assert np.isfinite(terms[0]).all()
    assert np.isnan(terms[1]).all()


def test_no_terms_give_no_columns() -> None:
    """A stream without calendar terms gets a matrix of no columns."""
    assert calendar_terms(np.zeros(3, np.int64), []).shape == (3, 0)
    assert calendar_names([]) == []


def test_numbers_are_not_times() -> None:
    """An Arrow column of another type is refused."""
    with pytest.raises(ValueError, match="need timestamps, not double"):
        calendar_terms(pa.array([1.0]), TERMS)
