"""Forecasts of the series' own future: when they are issued, from which rows, and as what.

One is issued at every whole multiple of the horizon on the grid of the forecaster, so that each
step of a series is forecast once. An issue reads rows of event time up to it and nothing else, and
comes once the watermark has passed it. So forecasts depend on the rows alone, not on how they were
cut into files or runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from monitors.forecast_scores import ForecastScores, ScoreNull, score, score_null
from monitors.verification import ARRIVED, FROM_ROWS, ISSUED
from schemas.errors import StreamFileError
from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.contract import ROW
from transforms.forecast.panel.design import Design
from transforms.forecast.panel.fitted import TOGETHER, FittedPanel
from transforms.lateness import lateness
from transforms.windows import key_text, key_texts

Micros = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AheadForecaster:
    """A fitted forecaster of the future of series, and how the scores of each vary."""

    model: FittedPanel
    null: ScoreNull  #: of all series together
    nulls: Mapping[str, ScoreNull]  #: by key: series have scales of their own

    def null_of(self, key: str) -> ScoreNull:
        """Return what the windows of a key are held against; that of all for a new key."""
        return self.nulls.get(key, self.null)


def ahead_specs(stream: Stream) -> list[ForecastSpec]:
    """Return the forecasts of series' own future."""
    return [spec for spec in stream.forecasts if spec.ahead is not None]


def check_ahead(stream: Stream) -> None:
    """Refuse what a run cannot do with forecasts of series' own future.

    Raises
    ------
    StreamFileError
        Naming the target.
    """
    for spec in ahead_specs(stream):
        assert spec.ahead is not None  # noqa: S101 (of `ahead_specs`)
        reason = None
        if stream.window.rows is not None:
            reason = "its scores belong to windows of event time, such as 7d"
        elif spec.ahead.known:
            reason = (
                "a run has no rows of the future, and `known` columns would be read there: leave "
                "`known` out (`tidegauge backtest` and the library can read them)"
            )
        elif spec.calibration == "online":
            reason = "`calibration: online` is for forecasts of rows; use `calibration: fixed`"
        if reason is not None:
            raise StreamFileError(f"forecasts: {spec.target!r} is forecast `ahead`: {reason}")


def history_columns(stream: Stream) -> list[str]:
    """Return the columns that are kept of past rows for all these forecasts."""
    assert stream.time is not None  # noqa: S101 (`ahead` needs it)
    read = [[spec.target, *stream.forecast_features(spec)] for spec in ahead_specs(stream)]
    return list(dict.fromkeys([stream.time.column, *stream.key, *(n for one in read for n in one)]))


def held_out_nulls(
    model: FittedPanel, stream: Stream, spec: ForecastSpec
) -> tuple[ScoreNull, dict[str, ScoreNull]]:
    """Return how the scores of windows vary in the reference: of all keys, and of each.

    Of the out-of-fold forecasts of one value, the one whose issue is nearest to that at which a run
    would have forecast it: windows then hold as many forecasts, and errors that go together.
    """
    assert stream.window.length_seconds is not None  # noqa: S101 (see `check_ahead`)
    length, design = round(stream.window.length_seconds * 1e6), model.design
    held_out = model.out_of_fold
    issue, valid = (
        design.places(held_out[name].dt.timestamp("us").to_numpy())
        for name in ("issue_time", "valid_time")
    )
    off = np.abs(issue - (valid - 1) // model.horizon * model.horizon)
    key, time = list(design.key), "valid_time"
    rows = (
        held_out.with_columns(off=off, window=pl.col(time).dt.timestamp("us") // length)
        .sort("off", "issue_time", maintain_order=True)
        .unique([*key, time], keep="first", maintain_order=True)
        .sort(time, *key)
    )

    def null(own: pl.DataFrame) -> ScoreNull:
        windows = own.partition_by("window", maintain_order=True)
        return score_null([_scored(window, spec.levels) for window in windows], spec.interval)

    if not key:
        whole = null(rows)
        return whole, {}
    own = rows.partition_by(key, as_dict=True, maintain_order=True)
    return null(rows), {key_text(key, values): null(part) for values, part in own.items()}


def next_issue(design: Design, until: int) -> int:
    """Return the first issue at a time, or up to half a step before it, or later.

    Parameters
    ----------
    until : in µs since 1970; the future up to it has been forecast.
    """
    least = -((design.phase + design.step // 2 - until) // design.step)
    return -(-least // design.horizon) * design.horizon * design.step + design.phase


def issue_ahead(
    model: FittedPanel, stream: Stream, rows: pl.DataFrame, issue: int, baseline_id: str
) -> pa.Table:
    """Forecast every series that has a row in the history of an issue.

    Parameters
    ----------
    rows : of `history_columns`; those later than the issue, or before its history, are not read.
    issue : in µs since 1970, see `next_issue`.

    Returns
    -------
    Table of schema ISSUED, one row for each series and step.
    """
    spec = next(spec for spec in stream.forecasts if spec.target == model.target)
    times, cut = pl.col(model.design.time).dt.timestamp("us"), lateness(stream)
    assert cut is not None  # noqa: S101 (see `check_ahead`)
    begin = issue - model.history_steps * model.step_us
    known = rows.filter(times > begin, times <= issue)
    if known.is_empty():
        return ISSUED.empty_table()
    at = _EPOCH + timedelta(microseconds=issue)
    found, key = model.forecast(known, at), model.design.key
    label = model.models[TOGETHER].conformals[0].label
    texts = [key_text(key, values) for values in found.select(key).iter_rows()]
    told = found.select(
        "issue_time",
        "valid_time",
        "quantiles",
        "lower",
        "upper",
        pl.col("horizon").alias("row"),
        (pl.col("valid_time").dt.timestamp("us") // cut.every).alias("span"),
        stream=pl.lit(stream.name),
        key=pl.Series(texts or [key_text((), ())] * found.height, dtype=pl.String),
        target=pl.lit(model.target),
        levels=pl.lit(list(spec.levels), pl.List(pl.Float64)),
        outcome=pl.lit(None, pl.Float64),
        model_id=pl.lit(model.model_id),
        calibration=pl.lit(label),
        path=pl.lit(f"issued {at.isoformat()}"),
        baseline_id=pl.lit(baseline_id),
    )
    return told.select(ISSUED.names).to_arrow().cast(ISSUED)


def outcomes_of_rows(
    stream: Stream, target: str, designs: Sequence[Design], rows: pa.Table
) -> pa.Table:
    """Return the values of rows as outcomes of the steps that they are nearest.

    Parameters
    ----------
    designs : of the forecasters that may await them: their grids can differ.
    rows : of `history_columns`, and `ROW`.

    Returns
    -------
    Table of schema ARRIVED.
    """
    assert stream.time is not None  # noqa: S101 (`ahead` needs it)
    rows = rows.filter(rows[target].is_valid())
    keys, times = pa.array(key_texts(rows, stream.key), pa.string()), rows[stream.time.column]
    micros: Micros = times.cast(pa.int64()).to_numpy()
    grids = {tuple(design.micros(design.places(micros)).tolist()) for design in designs}
    tables = [
        pa.table(
            {
                "key": keys,
                "target": pa.repeat(pa.scalar(target), rows.num_rows),
                "valid_time": pa.array(valid, pa.int64()).cast(ARRIVED.field("valid_time").type),
                "outcome": rows[target].cast(pa.float64()),
                "known_at": times,
                "path": pa.repeat(pa.scalar(FROM_ROWS), rows.num_rows),
                "row": rows[ROW],
            }
        ).cast(ARRIVED)
        for valid in sorted(grids)
    ]
    return pa.concat_tables(tables)


def _scored(rows: pl.DataFrame, levels: Sequence[float]) -> ForecastScores:
    quantiles = np.array(rows["quantiles"].to_list())
    ends = rows["lower"].to_numpy(), rows["upper"].to_numpy()
    return score(quantiles, *ends, rows["outcome"].to_numpy(), levels)
