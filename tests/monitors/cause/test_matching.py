"""Rows of the reference that match a window's conditions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from monitors.cause.matching import matched
from schemas.stream import Stream

YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def stream(**changes: Any) -> Stream:
    """Return a stream with a number, a condition and a category that only explains."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "s",
            "source": {"path": "c.csv"},
            "reference": {"path": "r.csv"},
            "time": {"column": "time"},
            "columns": {
                "x": {"type": "number"},
                "load": {"type": "number", "role": "condition"},
                "site": {"type": "category", "role": "condition"},
            },
            "window": {"length": "7d"},
            **changes,
        }
    )


def rows(first: datetime, hours: int, rng: np.random.Generator, **columns: Any) -> pa.Table:
    """Return hourly rows."""
    times = [first + timedelta(hours=hour) for hour in range(hours)]
    found = {"x": rng.standard_normal(hours), "load": 0.0, "site": "a", **columns}
    frame = pl.DataFrame({"time": times}).with_columns(
        pl.col("time").cast(pl.Datetime("us", "UTC")),
        **{n: pl.Series(v) if isinstance(v, np.ndarray) else pl.lit(v) for n, v in found.items()},
    )
    return frame.to_arrow()


def test_season_is_matched(rng: np.random.Generator) -> None:
    """A week of July is compared with the reference's summer, at all hours of the day."""
    before = rows(YEAR, 365 * 24, rng)
    after = rows(YEAR.replace(month=7, day=10), 168, rng)
    found = matched(before, after, stream(calendar=["hour_of_day", "day_of_year"]))
    times = pl.Series(found["time"]).dt
    assert 168 <= found.num_rows <= 4 * 168
    assert times.ordinal_day().is_between(181, 207).all()
    assert set(times.hour()) == set(range(24))


def test_conditions_are_matched(rng: np.random.Generator) -> None:
    """Rows of the same load at the same site are taken, numbers and categories alike."""
    load = rng.uniform(0, 100, 4000)
    site = np.where(np.arange(4000) % 2 == 0, "a", "b")
    before = rows(YEAR, 4000, rng, load=load, site=site)
    after = rows(YEAR, 100, rng, load=rng.uniform(40, 50, 100), site="b")
    found = matched(before, after, stream())
    assert found.num_rows >= 100
    assert set(found["site"].to_pylist()) == {"b"}
    values = found["load"].to_numpy()
    assert (values.min() > 38, values.max() < 52) == (True, True)


def test_without_conditions_or_rows_all_of_the_reference_counts(rng: np.random.Generator) -> None:
    """A stream without calendar and conditions, and a window of few rows, match everything."""
    before, after = rows(YEAR, 500, rng), rows(YEAR, 168, rng)
    plain = stream(columns={"x": {"type": "number"}})
    assert matched(before, after, plain).equals(before)
    few = stream(calendar=["hour_of_day"])
    assert matched(before, after.slice(0, 3), few).equals(before)
    assert matched(before, after.slice(0, 0), few).equals(before)
