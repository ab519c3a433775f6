"""Fits, calibrates and scores the forecasters of a baseline on a sample of the reference."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from monitors.ahead import AheadForecaster, held_out_nulls
from monitors.attribute.attribution_findings import watched_features
from monitors.attribute.feature_attributions import attribution_null
from monitors.baseline import Forecaster
from monitors.forecast_scores import score, score_null
from monitors.judge import SEED
from monitors.online_intervals import follow_reference
from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.calibrate.cqr import calibrate
from transforms.forecast.frame import forecast_features, forecast_frame, interval_columns
from transforms.forecast.kinds import DEFAULT_KINDS
from transforms.forecast.panel.fit import fit_panel
from transforms.forecast.select import fit_forecaster
from transforms.windows import key_texts, row_spans, time_spans

FOLDS = 5


def forecaster_of(stream: Stream, spec: ForecastSpec, sample: pa.Table) -> Forecaster:
    """Fit, calibrate and score one forecaster; folds and scores are by window.

    With ``calibration: online`` the scores are those of the intervals that the calibrator issues
    when the sample comes row by row, so that windows are compared with their like.
    """
    if stream.time is not None:  # kinds that read a series want its order
        order = [(name, "ascending") for name in (stream.time.column, *stream.key)]
        sample = sample.sort_by(order)
    windows = window_of_rows(stream, sample)
    numbers = np.unique(windows, return_inverse=True)[1]
    folds = (numbers * FOLDS // (numbers.max() + 1)).astype(np.int64)
    frame = forecast_frame(sample, stream, spec)
    features = forecast_features(stream, spec)
    kinds = spec.models or DEFAULT_KINDS
    fitted = fit_forecaster(frame, spec.target, features, spec.levels, folds, SEED, kinds=kinds)
    low, high = interval_columns(spec)
    held_out = fitted.out_of_fold
    outcome = frame[spec.target].cast(pl.Float64).fill_null(np.nan).to_numpy()
    ends = held_out[:, low], held_out[:, high]
    conformal, online = calibrate(*ends, outcome, spec.interval), {}
    lower, upper = conformal.apply(*ends)
    if spec.calibration == "online" and stream.time is not None:
        time = stream.time.column
        followed = follow_reference(sample, stream.key, time, ends, outcome, spec.interval)
        lower, upper, online = followed.lower, followed.upper, followed.states
    scores = []
    for number in np.unique(numbers):
        own = numbers == number
        scores.append(score(held_out[own], lower[own], upper[own], outcome[own], spec.levels))
    known = None
    if stream.monitors.attributions:
        names = watched_features(stream, spec)
        known = attribution_null(fitted, frame, _windows_by_key(stream, sample), names)
    null = score_null(scores, spec.interval)
    return Forecaster(fitted, conformal, null, fitted.model_id, known, online)


def ahead_of(stream: Stream, spec: ForecastSpec, rows: pa.Table) -> AheadForecaster:
    """Fit, calibrate and score one forecaster of the series' own future.

    Parameters
    ----------
    rows : all of the reference, not a sample: series with holes are other series.
    """
    fitted = fit_panel(rows, stream, spec, seed=SEED)
    return AheadForecaster(fitted, *held_out_nulls(fitted, stream, spec))


def last_rows(stream: Stream, forecasters: Iterable[AheadForecaster], rows: pa.Table) -> pa.Table:
    """Return the rows of the reference that forecasts right after it read."""
    assert stream.time is not None  # noqa: S101 (`ahead` needs it)
    times = rows[stream.time.column].cast(pa.int64()).to_numpy()
    span = max(one.model.history_steps * one.model.step_us for one in forecasters)
    return rows.filter(pa.array(times > times.max() - span))


def window_of_rows(stream: Stream, sample: pa.Table) -> np.ndarray:
    """Return for each row the number of its window: int64, shape (rows,)."""
    if stream.window.length_seconds is not None and stream.time is not None:
        return time_spans(sample[stream.time.column], stream.window.length_seconds)
    assert stream.window.rows is not None  # noqa: S101 (windows have a length or a count)
    return row_spans(sample, 0, stream.window.rows)


def with_outcomes(stream: Stream, sample: pa.Table, outcomes: pl.DataFrame) -> pa.Table:
    """Return a sample with the targets that became known after their rows.

    Parameters
    ----------
    outcomes : columns key (as JSON), target, valid_time, outcome; one row for each forecast.
    """
    assert stream.time is not None  # noqa: S101 (outcomes need it)
    keys = key_texts(sample, stream.key)
    about = pl.DataFrame(pl.from_arrow(sample.select([stream.time.column]))).select(
        key=pl.Series(keys, dtype=pl.String), valid_time=stream.time.column
    )
    for spec in stream.forecasts:
        if spec.target not in sample.column_names:
            continue
        late = outcomes.filter(pl.col("target") == spec.target).select(
            "key", "valid_time", "outcome"
        )
        late = late.unique(["key", "valid_time"], keep="last", maintain_order=True)
        found = about.join(late, on=["key", "valid_time"], how="left", maintain_order="left")
        at = sample.schema.get_field_index(spec.target)
        known = pl.Series(found["outcome"]).to_arrow().cast(sample.schema.field(at).type)
        sample = sample.set_column(at, sample.schema.field(at), pc.coalesce(known, sample[at]))
    return sample


def _windows_by_key(stream: Stream, sample: pa.Table) -> np.ndarray:
    """Return for each row the number of its window of its key."""
    about = pl.DataFrame(pl.from_arrow(sample.select(list(stream.key))))
    window = pl.Series("\0window", window_of_rows(stream, sample))
    number = about.with_columns(window).select(pl.struct(pl.all()).rank("dense"))
    return number.to_series().to_numpy().astype(np.int64)
