"""The loss of a stream's forecaster on a table of rows, row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from monitors.baseline import Baseline
from monitors.encoder import FloatArray
from schemas.stream import Stream
from transforms.forecast.frame import forecast_frame
from transforms.scores import pinball_loss


def forecast_loss(
    baseline: Baseline, stream: Stream, target: str
) -> Callable[[pa.Table], FloatArray]:
    """Return the function that gives the pinball loss of each row, its mean over the levels.

    It is in the target's unit, and NaN where the outcome is missing. The rows hold the stream's
    event time and every column that the forecaster reads, as kept rows do.

    Raises
    ------
    KeyError
        The baseline has no forecaster of this target.
    """
    model = baseline.forecasters[target].model
    spec = next(item for item in stream.forecasts if item.target == target)
    levels = np.asarray(spec.levels)

    def loss(rows: pa.Table) -> FloatArray:
        quantiles = model.predict(forecast_frame(rows, stream, spec))
        outcome = rows[target].cast(pa.float64()).to_numpy(zero_copy_only=False)
        found: FloatArray = pinball_loss(outcome, quantiles, levels).mean(axis=1)
        return found

    return loss


def held_out_loss(baseline: Baseline, target: str) -> float:
    """Return the mean pinball loss of the reference, by models that had not seen its rows.

    That of `forecast_loss` on the same rows is lower: the forecaster was fitted on them.
    """
    model = baseline.forecasters[target].model
    return model.losses[model.kind]
