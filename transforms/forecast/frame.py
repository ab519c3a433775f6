"""The columns a forecaster reads: the stream's features and the calendar terms of its times."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.calendar import calendar_names, calendar_terms


def forecast_features(stream: Stream, spec: ForecastSpec) -> list[str]:
    """Return the names of the columns of `forecast_frame`, without the target."""
    return [*stream.forecast_features(spec), *calendar_names(stream.calendar)]


def forecast_frame(table: pa.Table, stream: Stream, spec: ForecastSpec) -> pl.DataFrame:
    """Return the features of one forecaster, and its target."""
    frame = pl.from_arrow(table.select([*stream.forecast_features(spec), spec.target]))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 (a table gives a frame)
    if stream.time is None or not stream.calendar:
        return frame
    terms = calendar_terms(table[stream.time.column], stream.calendar)
    names = calendar_names(stream.calendar)
    return frame.with_columns(pl.Series(n, terms[:, j]) for j, n in enumerate(names))


def interval_columns(spec: ForecastSpec) -> tuple[int, int]:
    """Return the positions among the levels of the ends of the calibrated interval."""
    ends = ((1 - spec.interval) / 2, (1 + spec.interval) / 2)
    distances = [[abs(level - end) for level in spec.levels] for end in ends]
    return distances[0].index(min(distances[0])), distances[1].index(min(distances[1]))
