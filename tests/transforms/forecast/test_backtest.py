from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from schemas.errors import ReferenceDataError
from schemas.forecasts import ForecastSpec
from transforms.forecast.backtest import rolling_origin
from transforms.scores import pinball_loss

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
SPEC = ForecastSpec(target="y", levels=LEVELS, models=("direct",))


def table_of(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """Draw a target that one feature explains."""
    x = rng.normal(size=rows)
    return pl.DataFrame({"x": x, "y": 3 * x + rng.normal(size=rows)})


def test_windows_expand_and_scores_are_those_of_the_next_block(rng: np.random.Generator) -> None:
    """Training rows grow block by block, every later row is tested once, and skill is positive."""
    table = table_of(800, rng)
    done = rolling_origin(table, ["x"], SPEC, np.arange(800), folds=3, seed=1)
    rows = done.origins
    assert [row.origin for row in rows] == [1, 2, 3]
    assert [row.train_rows for row in rows] == [200, 400, 600]
    assert [row.test_rows for row in rows] == [200, 200, 200]
    for row in rows:
        assert row.skill > 0.4
        assert row.skill == pytest.approx(1 - row.pinball / row.climatology)
        assert abs(row.coverage - 0.9) < 4 * np.sqrt(2 * 0.09 / 200)
        assert row.winkler > 0


def test_the_future_is_not_seen() -> None:
    """Rows after the last tested block's origin do not change the scores of earlier ones."""
    rng = np.random.default_rng(0)
    table = table_of(400, rng)
    order = rng.permutation(400)
    later = table.with_columns(y=pl.when(pl.Series(order >= 300)).then(1e6).otherwise(pl.col("y")))
    before, after = (
        rolling_origin(part, ["x"], SPEC, order, folds=3, seed=1).origins for part in (table, later)
    )
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_rows_without_a_target_are_left_out(rng: np.random.Generator) -> None:
    """Null targets count neither as training nor as test rows."""
    table = table_of(300, rng).with_columns(y=pl.when(pl.int_range(300) % 3 != 0).then(pl.col("y")))
    done = rolling_origin(table, ["x"], SPEC, np.arange(300), folds=1)
    rows = done.origins
    assert (rows[0].train_rows, rows[0].test_rows) == (100, 100)


def test_too_few_rows_are_an_error_that_says_how_many(rng: np.random.Generator) -> None:
    """A backtest over more blocks than the rows can fill is refused."""
    with pytest.raises(ReferenceDataError, match="in 60 rows; a backtest over 5 origins needs 120"):
        rolling_origin(table_of(60, rng), ["x"], SPEC, np.arange(60))


def test_rows_of_one_time_are_in_one_block(rng: np.random.Generator) -> None:
    """What keys share at a time cannot be learnt from some of them to test the others."""
    times, keys = 19, 20
    shock = np.repeat(np.arange(times) ** 2.0, keys)
    table = pl.DataFrame({"x": shock, "y": shock + rng.normal(size=times * keys)})
    order = np.repeat(np.arange(times), keys)
    done = rolling_origin(table, ["x"], SPEC, order, folds=3)
    trained = [row.train_rows for row in done.origins]
    assert all(rows % keys == 0 for rows in trained)
    assert trained == sorted(set(trained))
    assert sum(row.test_rows for row in done.origins) == len(done.outcome) == 380 - trained[0]
    with pytest.raises(ReferenceDataError, match="its rows have 3 different times"):
        rolling_origin(table, ["x"], SPEC, order // 7, folds=3)


def test_forecasts_are_those_that_were_scored(rng: np.random.Generator) -> None:
    """In order of time: each tested row has its own forecast, interval and climatology."""
    table, order = table_of(400, rng), rng.permutation(400)
    done = rolling_origin(table, ["x"], SPEC, order, folds=3, seed=1)
    assert done.before.tolist() == np.argsort(order)[:100].tolist()
    assert done.tested.tolist() == np.argsort(order)[100:].tolist()
    assert (done.outcome == table["y"].to_numpy()[done.tested]).all()
    assert done.seen.shape == (100, 5)
    for origin in done.origins:
        rows = slice(100 * (origin.origin - 1), 100 * origin.origin)
        loss = pinball_loss(done.outcome[rows], done.quantiles[rows], LEVELS).mean()
        assert origin.pinball == pytest.approx(loss)
        inside = (done.lower <= done.outcome) & (done.outcome <= done.upper)
        assert origin.coverage == pytest.approx(inside[rows].mean())
    past = np.sort(table["y"].to_numpy()[done.before])
    assert done.climatology[0, 2] == pytest.approx((past[49] + past[50]) / 2)


def test_only_the_kinds_that_are_asked_for_are_tried(rng: np.random.Generator) -> None:
    """`models` holds for every origin."""
    table = table_of(400, rng)
    done = rolling_origin(table, ["x"], SPEC, np.arange(400), folds=2)
    assert {row.kind for row in done.origins} == {"direct"}
