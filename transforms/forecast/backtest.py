"""Rolling-origin evaluation: what the forecaster would have scored, had it been fitted earlier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import ReferenceDataError
from transforms.calibrate.cqr import calibrate
from transforms.forecast.empirical import sample_quantiles
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.scores import interval_coverage, pinball_loss, winkler_score

_FEWEST_ROWS = 20  # with a target, in each block: fewer say nothing about coverage


@dataclass(frozen=True, slots=True)
class BacktestRow:
    """Scores of one origin: fitted on everything before it, tested on the block after it."""

    origin: int  #: from 1
    train_rows: int  #: with a target
    test_rows: int
    kind: str  #: of the forecaster chosen at this origin
    pinball: float  #: mean over rows and levels
    climatology: float  #: the same for the unconditional quantiles of the training rows
    coverage: float  #: of the calibrated interval
    winkler: float  #: mean score of the calibrated interval

    @property
    def skill(self) -> float:
        """1 − pinball / climatology: 0 is no better than climatology, 1 is exact."""
        return 1 - self.pinball / self.climatology if self.climatology > 0 else 0.0


def rolling_origin(
    table: pl.DataFrame,
    target: str,
    features: Sequence[str],
    levels: Sequence[float],
    order: NDArray[Any],
    *,
    interval: float,
    folds: int = 5,
    seed: int = 0,
) -> list[BacktestRow]:
    """Evaluate over an expanding window (Tashman, International Journal of Forecasting 2000).

    The rows with a target are cut in `order` into `folds` + 1 blocks of near equal size. For each
    block after the first, a forecaster is chosen, fitted and calibrated on all blocks before it,
    as `fit` would have done, and scored on the block.

    Parameters
    ----------
    table, target, features, levels
        As for `fit_forecaster`.
    order : array, shape (rows,)
        What rows are ordered by, such as event times or row numbers.
    interval : float
        Nominal coverage; its ends are the nearest of the levels.
    folds : int
        Origins.

    Raises
    ------
    ReferenceDataError
        When there are too few rows with a target.
    """
    known = table[target].is_not_null().to_numpy()
    table, order = table.filter(pl.Series(known)), np.asarray(order)[known]
    if table.height < _FEWEST_ROWS * (folds + 1):
        raise ReferenceDataError(
            f"target {target!r} has a value in {table.height} rows; a backtest over {folds} folds "
            f"needs {_FEWEST_ROWS * (folds + 1)}: give a longer reference, or fewer folds"
        )
    block = contiguous_folds(order, folds + 1)
    tau = np.asarray(levels, np.float64)
    low, high = (int(np.abs(tau - (1 + sign * interval) / 2).argmin()) for sign in (-1, 1))
    rows = []
    for origin in range(1, folds + 1):
        train, test = (
            table.filter(pl.Series(block < origin)),
            table.filter(pl.Series(block == origin)),
        )
        inner = contiguous_folds(order[block < origin], folds)
        fitted = fit_forecaster(train, target, features, levels, inner, seed)
        outcome, past = (part[target].cast(pl.Float64).to_numpy() for part in (test, train))
        quantiles, seen = fitted.predict(test), fitted.out_of_fold
        conformal = calibrate(seen[:, low], seen[:, high], past, interval)
        lower, upper = conformal.apply(quantiles[:, low], quantiles[:, high])
        unconditional = np.tile(sample_quantiles(past, tau), (len(outcome), 1))
        rows.append(
            BacktestRow(
                origin=origin,
                train_rows=train.height,
                test_rows=test.height,
                kind=fitted.kind,
                pinball=float(pinball_loss(outcome, quantiles, tau).mean()),
                climatology=float(pinball_loss(outcome, unconditional, tau).mean()),
                coverage=interval_coverage(outcome, lower, upper),
                winkler=float(winkler_score(outcome, lower, upper, interval).mean()),
            )
        )
    return rows
