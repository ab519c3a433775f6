from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from schemas.errors import ReferenceDataError
from transforms.forecast.backtest import rolling_origin

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def table_of(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """Draw a target that one feature explains."""
    x = rng.normal(size=rows)
    return pl.DataFrame({"x": x, "y": 3 * x + rng.normal(size=rows)})


def test_windows_expand_and_scores_are_those_of_the_next_block(rng: np.random.Generator) -> None:
    """Training rows grow block by block, every later row is tested once, and skill is positive."""
    table = table_of(800, rng)
    rows = rolling_origin(table, "y", ["x"], LEVELS, np.arange(800), interval=0.9, folds=3, seed=1)
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
        rolling_origin(part, "y", ["x"], LEVELS, order, interval=0.9, folds=3, seed=1)
        for part in (table, later)
    )
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_rows_without_a_target_are_left_out(rng: np.random.Generator) -> None:
    """Null targets count neither as training nor as test rows."""
    table = table_of(300, rng).with_columns(y=pl.when(pl.int_range(300) % 3 != 0).then(pl.col("y")))
    rows = rolling_origin(table, "y", ["x"], LEVELS, np.arange(300), interval=0.9, folds=1)
    assert (rows[0].train_rows, rows[0].test_rows) == (100, 100)


def test_too_few_rows_are_an_error_that_says_how_many(rng: np.random.Generator) -> None:
    """A backtest over more blocks than the rows can fill is refused."""
    with pytest.raises(ReferenceDataError, match="in 60 rows; a backtest over 5 folds needs 120"):
        rolling_origin(table_of(60, rng), "y", ["x"], LEVELS, np.arange(60), interval=0.9)
