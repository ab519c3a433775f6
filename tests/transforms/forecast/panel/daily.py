"""Small panels of days with a weekly season, and the stream that forecasts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.stream import Stream

Floats = NDArray[np.float64]

START = np.datetime64("2024-01-01", "us")
DAY = np.timedelta64(1, "D")
WEEK = 7


def daily(values: Floats, first: int = 0) -> pl.DataFrame:
    """Return a long table of series of days, shape (series, days)."""
    series, days = values.shape
    return pl.DataFrame(
        {
            "shop": np.repeat([f"s{first + number:03}" for number in range(series)], days),
            "time": np.tile(START + np.arange(days) * DAY, series),
            "y": values.ravel(),
        }
    )


def sales(series: int, days: int, rng: np.random.Generator) -> Floats:
    """Draw series of any size with a weekly profile and independent noise, twice at weekends."""
    level = np.exp(rng.normal(3, 1, (series, 1)))
    profile = 0.3 * rng.normal(size=(series, WEEK))
    day = np.arange(days)
    noise = 0.1 * rng.standard_normal((series, days)) * np.where(day % WEEK >= 5, 2, 1)
    return level * (3 + profile[:, day % WEEK] + noise)


def stream(columns: dict[str, dict[str, Any]] | None = None, **ahead: Any) -> Stream:
    """Return the stream of such a table; `models` and `min` may be among the keywords."""
    models = ahead.pop("models", ())
    least = ahead.pop("min", None)
    calendar = ahead.pop("calendar", ())
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "sales",
            "source": {"path": "current.parquet"},
            "reference": {"path": "reference.parquet"},
            "time": {"column": "time"},
            "key": ["shop"],
            "calendar": calendar,
            "columns": {
                "y": {"type": "number", "role": "target", "min": least},
                **(columns or {}),
            },
            "window": {"length": "7d"},
            "forecasts": [
                {
                    "target": "y",
                    "models": models,
                    "ahead": {"horizon": "7d", "step": "1d", "season": "7d", **ahead},
                }
            ],
        }
    )
