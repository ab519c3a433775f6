"""When the future of series is forecast, which values it meets, and what windows are held to."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from monitors.ahead import held_out_nulls, issue_ahead, next_issue, outcomes_of_rows
from monitors.forecast_scores import ForecastScores
from monitors.verification import ARRIVED, AWAITING, FROM_ROWS, ISSUED, verify
from tests.transforms.forecast.panel.daily import daily, sales, stream
from transforms.calibrate.online import OnlineCalibrator
from transforms.contract import ROW
from transforms.forecast.panel.fit import fit_panel
from transforms.forecast.panel.fitted import FittedPanel

DAY = 86_400_000_000
WEEKLY = stream(models=["seasonal_naive"])


@pytest.fixture(scope="module")
def fitted() -> tuple[FittedPanel, pl.DataFrame]:
    """Return a forecaster of three shops, seven days ahead, and its rows."""
    rows = daily(sales(3, 200, np.random.default_rng(4))).with_columns(
        pl.col("time").dt.replace_time_zone("UTC")
    )
    return fit_panel(rows, WEEKLY, WEEKLY.forecasts[0]), rows


def test_issues_are_whole_multiples_of_the_horizon(
    fitted: tuple[FittedPanel, pl.DataFrame],
) -> None:
    """The first at a time or later; one up to half a step before it counts as at it."""
    design, week = fitted[0].design, 7 * DAY
    for late in (DAY // 2 + 1, DAY, week, week + DAY // 2):
        assert next_issue(design, 2800 * week + late) == 2801 * week
    for late in (0, 1, DAY // 2):
        assert next_issue(design, 2800 * week + late) == 2800 * week


def test_each_key_is_held_against_its_own_windows(
    fitted: tuple[FittedPanel, pl.DataFrame],
) -> None:
    """One forecast a value: a window of the reference holds as many as one of the run."""
    model, rows = fitted
    together, own = held_out_nulls(model, WEEKLY, WEEKLY.forecasts[0])
    assert own.keys() == {f'{{"shop": "s00{number}"}}' for number in range(3)}
    assert {null.window_rows for null in own.values()} == {7.0}
    assert together.window_rows == 21.0
    losses = [null.log_pinball[0] for null in own.values()]
    sizes = rows.group_by("shop", maintain_order=True).agg(pl.col("y").mean())["y"].log()
    assert np.corrcoef(losses, sizes)[0, 1] > 0.9


def test_an_issue_reads_no_row_after_it(fitted: tuple[FittedPanel, pl.DataFrame]) -> None:
    """Nor one before its history; a series without a row there is not forecast."""
    model, rows = fitted
    issue = next_issue(model.design, int(rows["time"].dt.timestamp("us").max()) - 21 * DAY)  # type: ignore[arg-type]
    times = pl.col("time").dt.timestamp("us")
    new = rows.filter(times > issue).with_columns(shop=pl.lit("new"))
    noon = rows.filter(times == issue).with_columns(
        time=pl.col("time") + timedelta(hours=5), y=pl.lit(1e6)
    )
    seen = rows.filter(times <= issue, times > issue - model.history_steps * DAY)
    made = [
        issue_ahead(model, WEEKLY, table, issue, "b")
        for table in (pl.concat([rows, new, noon]), seen)
    ]
    assert made[0].schema == ISSUED
    assert made[0].equals(made[1])
    assert made[0].num_rows == 3 * 7
    assert not issue_ahead(model, WEEKLY, new, issue, "b").num_rows


def test_scores_begin_with_the_outcome(fitted: tuple[FittedPanel, pl.DataFrame]) -> None:
    """A forecast is not counted as without outcome; its value counts once, when it comes."""
    model, rows = fitted
    issue, spec = next_issue(model.design, 2820 * 7 * DAY), WEEKLY.forecasts[0]
    made = issue_ahead(model, WEEKLY, rows.filter(shop="s000"), issue, "b")
    nothing, none_yet = AWAITING.empty_table(), ARRIVED.empty_table()
    first = verify(spec, nothing, made, none_yet, refused, wait=True)
    assert not first.scores
    table = rows.filter(shop="s000").with_row_index(ROW).to_arrow()
    values = outcomes_of_rows(WEEKLY, "y", [model.design], table)
    found = verify(spec, first.awaiting, made.slice(0, 0), values, refused, wait=True)
    total = functools.reduce(ForecastScores.merge, (gain for *_, gain in found.scores))
    assert (total.scored, total.no_outcome) == (7, 0)
    assert (found.used, found.repeated, found.outcomes.num_rows) == (0, 0, 7)


def refused(identity: str) -> OnlineCalibrator:
    """Return no calibrator: intervals are fixed."""
    raise AssertionError(identity)


def test_values_belong_to_the_nearest_step(fitted: tuple[FittedPanel, pl.DataFrame]) -> None:
    """As in the history; a row without a value is the outcome of nothing."""
    start = datetime(2024, 6, 1, tzinfo=UTC)
    minutes = timedelta(minutes=1)
    rows = pa.table(
        {
            "shop": ["a", "a", "b"],
            "time": pa.array(
                [start - 9 * minutes, start + 9 * minutes, start], ISSUED.field("valid_time").type
            ),
            "y": [1.0, 2.0, None],
            ROW: [0, 1, 2],
        }
    )
    designs = [fitted[0].design, fitted[0].design]
    found = outcomes_of_rows(WEEKLY, "y", designs, rows)
    assert found["valid_time"].to_pylist() == [start, start]
    assert found["outcome"].to_pylist() == [1.0, 2.0]
    assert set(found["path"].to_pylist()) == {FROM_ROWS}
