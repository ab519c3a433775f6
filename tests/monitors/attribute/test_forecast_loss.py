from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.attribute.forecast_loss import forecast_loss, held_out_loss
from monitors.baseline_folder import load_baseline
from tests.small_streams import Outcome, Watched


def test_the_loss_of_rows_that_the_forecaster_knows_is_below_the_held_out_one(
    fitted: tuple[Watched, Outcome],
) -> None:
    """And NaN where the outcome is missing."""
    baseline = load_baseline(fitted[0].baseline)
    stream = baseline.stream
    rows = baseline.rows_of(next(iter(baseline.references)))
    loss = forecast_loss(baseline, stream, "s1")
    own = loss(rows)
    assert own.shape == (rows.num_rows,)
    assert 0 < np.mean(own) < held_out_loss(baseline, "s1")
    place = rows.column_names.index("s1")
    gap = pa.array([None, *rows["s1"].to_pylist()[1:]], pa.float64())
    missing = loss(rows.set_column(place, "s1", gap))
    assert np.isnan(missing[0])
    assert missing[1:] == pytest.approx(own[1:])
