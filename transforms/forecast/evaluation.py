"""What evaluated forecasts are worth: their scores beside others', and where intervals fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.decisions import ShortfallCost
from transforms.quantile_law import crps, log_score
from transforms.scores import interval_coverage, pinball_loss, winkler_score

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForecastSummary:
    """Mean scores of one forecaster over rows; the unit is the target's unless said otherwise."""

    forecaster: str
    rows: int
    pinball: float  #: over rows and levels; half the WIS
    crps: float
    log_score: float  #: in nats; NaN where an outcome is on a point mass of its forecast
    coverage: float
    width: float
    winkler: float
    cost: float | None  #: of the decisions made by it, per row; None: nothing said what they cost


def summarise(
    forecaster: str,
    outcome: Floats,
    quantiles: Floats,
    levels: Sequence[float],
    ends: tuple[Floats, Floats],
    interval: float,
    cost: ShortfallCost | None,
) -> ForecastSummary:
    """Score one forecaster.

    Parameters
    ----------
    outcome : array, shape (n,), n > 0, without NaN
    quantiles : array, shape (n, levels), non-decreasing along levels
    ends : lower and upper ends of its interval, shapes (n,)
    interval : nominal coverage
    cost : what decisions made by its quantiles cost, where that is known
    """
    lower, upper = ends
    decided = None if cost is None else cost.of(cost.decide(quantiles, levels), outcome).mean()
    return ForecastSummary(
        forecaster=forecaster,
        rows=len(outcome),
        pinball=float(pinball_loss(outcome, quantiles, levels).mean()),
        crps=float(crps(outcome, quantiles, levels).mean()),
        log_score=float(log_score(outcome, quantiles, levels).mean()),
        coverage=interval_coverage(outcome, lower, upper),
        width=float((upper - lower).mean()),
        winkler=float(winkler_score(outcome, lower, upper, interval).mean()),
        cost=None if decided is None else float(decided),
    )
