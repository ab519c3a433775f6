from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipelines.report.forecast_figures import _with_gaps
from pipelines.report.forecasts import _score


def test_line_breaks_where_forecasts_are_missing() -> None:
    """An empty row stands in each gap, and nowhere else, in time as in rows."""
    rows = [0, 1, 2, 10, 11, 12]
    start = datetime(2013, 9, 12, tzinfo=UTC)
    for x in (rows, [start + timedelta(hours=row) for row in rows]):
        line = _with_gaps(pl.DataFrame({"x": x, "median": [1.0] * 6}))
        assert line["median"].to_list() == [1.0, 1.0, 1.0, None, 1.0, 1.0, 1.0]


def test_single_forecast_is_a_line_without_gaps() -> None:
    """One forecast has no step to compare with."""
    frame = pl.DataFrame({"x": [0], "median": [1.0]})
    assert _with_gaps(frame).equals(frame)


def test_sliding_windows_share_forecasts() -> None:
    """Each window is scored over all of its own forecasts; unknown outcomes are left out.

    ::

        row      0    1    2    3
        inside   yes  no   ?    yes
        window   |---------|
                      |---------|
    """
    frame = pl.DataFrame(
        {
            "outcome": [0.0, 5.0, None, 0.0],
            "lower": [-1.0] * 4,
            "upper": [1.0] * 4,
            "loss": [0.1, 0.9, None, 0.3],
        }
    )
    scores = _score(frame, np.asarray([0, 1, 4]), np.asarray([3, 4, 4]))
    np.testing.assert_array_equal(scores["scored"], [2, 2, 0])
    np.testing.assert_allclose(scores["coverage"], [0.5, 0.5, np.nan])
    np.testing.assert_allclose(scores["pinball"], [0.5, 0.6, np.nan])
