"""Rolling-origin evaluation: what the forecaster would have scored, had it been fitted earlier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import ReferenceDataError
from schemas.forecasts import ForecastSpec
from transforms.calibrate.cqr import calibrate
from transforms.forecast.empirical import sample_quantiles
from transforms.forecast.frame import interval_columns
from transforms.forecast.kinds import DEFAULT_KINDS
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.scores import interval_coverage, pinball_loss, winkler_score

Floats = NDArray[np.float64]

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


@dataclass(frozen=True, slots=True)
class Backtest:
    """The scores of each origin, and the forecasts that they are of, in order of time."""

    origins: tuple[BacktestRow, ...]
    tested: NDArray[np.int64]  #: places in the table of the rows after the first origin, shape (m,)
    outcome: Floats  #: shape (m,)
    quantiles: Floats  #: shape (m, levels)
    climatology: Floats  #: quantiles of the outcomes before the row's origin, shape (m, levels)
    lower: Floats  #: of the interval calibrated on what was before the row's origin, shape (m,)
    upper: Floats
    before: NDArray[np.int64]  #: places of the rows before the first origin, shape (b,)
    seen: Floats  #: their out-of-fold quantiles, shape (b, levels)


def rolling_origin(
    table: pl.DataFrame,
    features: Sequence[str],
    spec: ForecastSpec,
    order: NDArray[Any],
    *,
    folds: int = 5,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Evaluate over an expanding window (Tashman, International Journal of Forecasting 2000).

    The rows with a target are cut in `order` into `folds` + 1 blocks of near equal size; rows that
    tie, such as those of many keys at one time, are in one block. For each block after the first, a
    forecaster is chosen, fitted and calibrated on all blocks before it, as `fit` would have done,
    and scored on the block.

    Parameters
    ----------
    table, features
        As for `fit_forecaster`.
    spec : ForecastSpec
        What is forecast, at which levels, and from which kinds the best is taken.
    order : array, shape (rows,)
        What rows are ordered by, such as event times or row numbers; ties keep the table's order.
    folds : int
        Origins.
    say
        Is told what is going on.

    Raises
    ------
    ReferenceDataError
        When there are too few rows with a target, or too many of them tie.
    """
    target, interval = spec.target, spec.interval
    known = np.flatnonzero(table[target].is_not_null().to_numpy())
    if len(known) < _FEWEST_ROWS * (folds + 1):
        raise ReferenceDataError(
            f"target {target!r} has a value in {len(known)} rows; a backtest over {folds} origins "
            f"needs {_FEWEST_ROWS * (folds + 1)}: give a longer reference"
        )
    places = known[np.argsort(np.asarray(order)[known], kind="stable")]
    table, tau = table[places], np.asarray(spec.levels, np.float64)
    outcomes = table[target].cast(pl.Float64).to_numpy()
    starts = _starts(np.asarray(order)[places], folds, target)
    low, high = interval_columns(spec)
    origins, quantiles, climatology, ends, seen = [], [], [], [], None
    for origin, (begin, end) in enumerate(pairwise(starts), start=1):
        say(f"{target}: origin {origin} of {folds}, fitting on {begin:,} rows")
        train, past, outcome = table[:begin], outcomes[:begin], outcomes[begin:end]
        inner = contiguous_folds(np.arange(begin), folds)
        kinds = spec.models or DEFAULT_KINDS
        fitted = fit_forecaster(train, target, features, spec.levels, inner, seed, kinds=kinds)
        seen = fitted.out_of_fold if seen is None else seen
        own = fitted.out_of_fold
        conformal = calibrate(own[:, low], own[:, high], past, interval)
        quantiles.append(fitted.predict(table[begin:end]))
        ends.append(conformal.apply(quantiles[-1][:, low], quantiles[-1][:, high]))
        climatology.append(np.tile(sample_quantiles(past, tau), (len(outcome), 1)))
        origins.append(
            BacktestRow(
                origin=origin,
                train_rows=begin,
                test_rows=len(outcome),
                kind=fitted.kind,
                pinball=float(pinball_loss(outcome, quantiles[-1], tau).mean()),
                climatology=float(pinball_loss(outcome, climatology[-1], tau).mean()),
                coverage=interval_coverage(outcome, *ends[-1]),
                winkler=float(winkler_score(outcome, *ends[-1], interval).mean()),
            )
        )
    first = starts[0]
    return Backtest(
        origins=tuple(origins),
        tested=places[first:],
        outcome=outcomes[first:],
        quantiles=np.concatenate(quantiles),
        climatology=np.concatenate(climatology),
        lower=np.concatenate([lower for lower, _ in ends]),
        upper=np.concatenate([upper for _, upper in ends]),
        before=places[:first],
        seen=np.empty((0, len(tau))) if seen is None else seen,
    )


def _starts(order: NDArray[Any], folds: int, target: str) -> list[int]:
    """Return where each block after the first begins, in rows of increasing order, and the end."""
    block = contiguous_folds(np.arange(len(order)), folds + 1)
    even = np.searchsorted(block, np.arange(1, folds + 1))
    # rows of one time share what happened then: none is trained on to test the others
    starts = [*np.searchsorted(order, order[even]).tolist(), len(order)]
    if min(end - begin for begin, end in pairwise([0, *starts])) == 0:
        raise ReferenceDataError(
            f"target {target!r}: its rows have {len(np.unique(order))} different times, and too "
            f"many share one to be cut into {folds + 1} blocks; give a longer reference"
        )
    return starts
