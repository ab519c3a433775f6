"""Tests of forecasters brought up to new rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from schemas.errors import SourceError
from transforms.forecast import Fitted, contiguous_folds, fit_forecaster, update_forecaster
from transforms.scores import pinball_loss

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
KINDS = ("symmetric", "location_scale", "linear", "direct", "aggregate")


def rows_of(rng: np.random.Generator, rows: int, shift: float, spread: float) -> pl.DataFrame:
    """Return rows whose target's level and spread are set."""
    a, b = rng.normal(size=(2, rows))
    return pl.DataFrame({"a": a, "b": b, "y": 2 * a + shift + spread * rng.normal(size=rows)})


def fit(table: pl.DataFrame, *kinds: str) -> Fitted:
    """Fit on three folds."""
    folds = contiguous_folds(np.arange(table.height), 3)
    return fit_forecaster(table, "y", ["a", "b"], LEVELS, folds, 1, kinds=kinds)


def loss(fitted: Fitted, table: pl.DataFrame) -> float:
    """Return the mean pinball loss."""
    return float(pinball_loss(table["y"].to_numpy(), fitted.predict(table), LEVELS).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_follows_a_shift_and_grows_no_tree(kind: str, rng: np.random.Generator) -> None:
    """Level and spread move: 300 rows later the loss is lower, by the trees there were."""
    kinds = ("linear", "direct", "aggregate") if kind == "aggregate" else (kind,)
    table, later = rows_of(rng, 800, 0.0, 1.0), rows_of(rng, 600, 4.0, 2.0)
    fitted = fit(table, *kinds)
    updated = update_forecaster(fitted, later.head(300))
    assert updated.model.boosters == fitted.model.boosters
    assert updated.model_id != fitted.model_id
    bound = 0.9 if fitted.kind == "direct" else 0.7  # a forest keeps its old rows beside the new
    assert loss(updated, later.tail(300)) < bound * loss(fitted, later.tail(300))


def test_an_updated_interval_covers_the_new_rows(rng: np.random.Generator) -> None:
    """After a change of spread the 90 % interval of later rows covers 90 % again."""
    fitted = fit(rows_of(rng, 600, 0.0, 1.0), "symmetric")
    later = rows_of(rng, 4000, 0.0, 3.0)
    quantiles = update_forecaster(fitted, later.head(2000)).predict(later.tail(2000))
    y = later.tail(2000)["y"].to_numpy()
    inside = np.mean((y >= quantiles[:, 0]) & (y <= quantiles[:, -1]))
    # coverage of 2,000 rows by quantiles of 2,000
    assert abs(inside - 0.9) < 4 * np.sqrt(2 * 0.09 / 2000)


def test_rows_counted_twice_leave_a_forest_as_it_is(rng: np.random.Generator) -> None:
    """Its leaves count: each row once more changes no share."""
    table = rows_of(rng, 400, 0.0, 1.0)
    fitted = fit(table, "direct")
    updated = update_forecaster(fitted, table)
    np.testing.assert_allclose(updated.predict(table), fitted.predict(table), atol=1e-9)


def test_what_cannot_be_updated_is_said(rng: np.random.Generator) -> None:
    """Too few rows, and no target."""
    table = rows_of(rng, 400, 0.0, 1.0)
    fitted = fit(table, "linear")
    with pytest.raises(SourceError, match="needs 100"):
        update_forecaster(fitted, table.head(99))
    with pytest.raises(SourceError, match="no column 'y'"):
        update_forecaster(fitted, table.drop("y"))
