"""Issues the calibrated forecasts of rows, and scores them where the outcome is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from monitors.baseline import Baseline
from monitors.forecast_scores import ForecastScores, score
from schemas.errors import StreamFileError
from schemas.records import FORECAST
from schemas.stream import Stream
from transforms.contract import ROW
from transforms.forecast.frame import forecast_frame, interval_columns

ONLINE = "online {:.4g}"


def scored_later(stream: Stream) -> bool:
    """Say whether forecasts are calibrated and scored after they are made: see `verification`."""
    return stream.outcomes is not None or any(
        spec.calibration == "online" or spec.ahead is not None for spec in stream.forecasts
    )


def refuse_unbounded(stream: Stream) -> None:
    """Refuse what needs the state of a run folder.

    Raises
    ------
    StreamFileError
        Naming the key of the stream file.
    """
    asked = {
        "outcomes": stream.outcomes is not None,
        "refit": stream.refit is not None,
        "calibration: online": any(spec.calibration == "online" for spec in stream.forecasts),
        "ahead": any(spec.ahead is not None for spec in stream.forecasts),
    }
    for name, there in asked.items():
        if there:
            message = (
                f"`{name}` needs the state of a run folder: `tidegauge run --follow` keeps it, a "
                f"graph without an end does not; leave it out here"
            )
            raise StreamFileError(message)


def forecast_rows(
    baseline: Baseline, stream: Stream, target: str, rows: pa.Table, key: str, path: str
) -> tuple[pa.Table, ForecastScores]:
    """Forecast one target for some rows.

    With ``calibration: online`` the interval is the forecaster's own: `verification` moves its ends
    when the forecasts of the key come in the order of event time.

    Returns
    -------
    forecasts : table of schema FORECAST, one row per row.
    scores : mergeable scores of the rows whose outcome is known.
    """
    forecaster = baseline.forecasters[target]
    spec = next(item for item in stream.forecasts if item.target == target)
    quantiles = forecaster.model.predict(forecast_frame(rows, stream, spec))
    low, high = interval_columns(spec)
    lower, upper, label = quantiles[:, low], quantiles[:, high], ONLINE.format(spec.interval)
    if spec.calibration == "fixed":
        lower, upper = forecaster.conformal.apply(lower, upper)
        label = forecaster.conformal.label
    outcome = rows[target].cast(pa.float64())
    known = outcome.to_numpy(zero_copy_only=False).astype(np.float64)
    n = rows.num_rows
    valid = (
        rows[stream.time.column]
        if stream.time is not None
        else pa.nulls(n, FORECAST.field("valid_time").type)
    )
    table = pa.table(
        {
            "stream": _constant(stream.name, n),
            "key": _constant(key, n),
            "target": _constant(target, n),
            "issue_time": valid,
            "valid_time": valid,
            "levels": _lists(np.tile(np.asarray(spec.levels), (n, 1))),
            "quantiles": _lists(quantiles),
            "lower": lower,
            "upper": upper,
            "outcome": outcome,
            "model_id": _constant(forecaster.model_id, n),
            "calibration": _constant(label, n),
            "path": _constant(path, n),
            "row": rows[ROW],
        }
    ).cast(FORECAST)
    return table, score(quantiles, lower, upper, known, spec.levels)


def _constant(text: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), n)


def _lists(matrix: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(offsets, matrix.ravel())
