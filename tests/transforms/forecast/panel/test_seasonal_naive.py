from __future__ import annotations

import json

import numpy as np
import pytest

from schemas.errors import StreamFileError
from transforms.forecast.kinds import CROSS_FITS, MODELS
from transforms.forecast.panel.seasonal_naive import SeasonalNaive, cross_fit_seasonal_naive
from transforms.forecast.training import TrainingSet
from transforms.scores import interval_coverage

LEVELS = np.array([0.05, 0.5, 0.95])


def training(rows: int, rng: np.random.Generator) -> TrainingSet:
    """Draw rows whose error about last season's value grows with the step ahead."""
    last, step = rng.normal(size=rows), rng.integers(1, 4, rows).astype(float)
    return TrainingSet(
        X=np.column_stack([step, last]),
        y=last + step * rng.standard_normal(rows),
        folds=np.arange(rows) * 3 // rows,
        levels=LEVELS,
        names=("y: horizon", "y: last season 1"),
    )


def test_errors_are_those_of_each_step(rng: np.random.Generator) -> None:
    """At each step ahead the interval covers 90 %, and its width is that of the step's errors."""
    rows = 12_000
    fitted = cross_fit_seasonal_naive(training(rows, rng)).refit()
    new = training(rows, rng)
    quantiles = fitted.quantiles(new.X)
    for step in (1, 2, 3):
        own = new.X[:, 0] == step
        covered = interval_coverage(new.y[own], quantiles[own, 0], quantiles[own, 2])
        # the levels themselves come from as many rows as are tested: twice the variance
        assert covered == pytest.approx(0.9, abs=4 * np.sqrt(2 * 0.09 / own.sum()))
        width = quantiles[own, 2] - quantiles[own, 0]
        assert width == pytest.approx(np.full(own.sum(), 2 * 1.645 * step), rel=0.1)


def test_out_of_fold_quantiles_leave_the_fold_out(rng: np.random.Generator) -> None:
    """Other outcomes in a fold leave its own out-of-fold quantiles as they were."""
    one = training(900, rng)
    y = one.y.copy()
    y[one.folds == 1] += 100
    other = TrainingSet(one.X, y, one.folds, one.levels, one.names)
    found = [cross_fit_seasonal_naive(each).quantiles[one.folds == 1] for each in (one, other)]
    assert np.array_equal(found[0], found[1])


def test_few_rows_share_their_errors(rng: np.random.Generator) -> None:
    """With fewer errors than say anything of one step, all steps have the same."""
    fitted = cross_fit_seasonal_naive(training(100, rng)).refit()
    assert isinstance(fitted, SeasonalNaive)
    assert fitted.steps == (3.0,)


def test_it_is_a_kind_that_reads_back(rng: np.random.Generator) -> None:
    """The registry fits it and reads back what it wrote; a missing last season is the centre."""
    fitted = CROSS_FITS["seasonal_naive"](training(900, rng)).refit()
    again = MODELS["seasonal_naive"].from_dict(json.loads(json.dumps(fitted.to_dict())), ())
    rows = np.array([[1.0, 0.5], [3.0, np.nan], [9.0, 0.0]])
    found = fitted.quantiles(rows)
    assert np.array_equal(again.quantiles(rows), found)
    assert np.array_equal(found[1], found[2])
    assert (np.diff(found, axis=1) >= 0).all()


def test_other_rows_are_refused(rng: np.random.Generator) -> None:
    """Rows that are not of a series' own future are one clear error."""
    one = training(90, rng)
    table = TrainingSet(one.X, one.y, one.folds, one.levels, ("a", "b"))
    with pytest.raises(StreamFileError, match="give the forecast `ahead:`"):
        cross_fit_seasonal_naive(table)
