"""Scores of probabilities of an event, and what they say of calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


def brier_score(probability: ArrayLike, event: ArrayLike) -> Floats:
    """(p − event)² of each row (Brier, Monthly Weather Review 1950), shape (n,)."""
    score: Floats = (np.asarray(probability, np.float64) - np.asarray(event, np.float64)) ** 2
    return score


def log_loss(probability: ArrayLike, event: ArrayLike) -> Floats:
    """Minus the log of the probability given to what happened (Good, 1952), shape (n,), in nats.

    Infinite where that probability is 0.
    """
    p, came = np.asarray(probability, np.float64), np.asarray(event, np.float64)
    loss: Floats = special.xlogy(-came, p) - special.xlog1py(1 - came, -p)
    return loss


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability diagram, and the parts of the mean Brier score that it shows."""

    probability: Floats  #: distinct values forecast, increasing
    rows: NDArray[np.int64]  #: with each
    recalibrated: Floats  #: chance of the event at each: the curve, non-decreasing
    miscalibration: float  #: what recalibration would gain, ≥ 0
    discrimination: float  #: what recalibrated probabilities gain over the base rate, ≥ 0
    uncertainty: float  #: of the base rate

    @property
    def brier(self) -> float:
        """Mean Brier score: miscalibration − discrimination + uncertainty."""
        return self.miscalibration - self.discrimination + self.uncertainty


def reliability(probability: ArrayLike, event: ArrayLike) -> Reliability:
    """Draw the reliability diagram by isotonic regression, without bins to choose.

    The CORP approach (Dimitriadis, Gneiting and Jordan, PNAS 2021): the curve is the isotonic
    regression of the events on the probabilities, and the decomposition is exact. On few rows it
    follows noise: n rows that are calibrated show a small miscalibration above 0.

    Parameters
    ----------
    probability, event : arrays, shape (n,), n > 0, without NaN
    """
    from scipy.optimize import isotonic_regression

    p, came = np.asarray(probability, np.float64), np.asarray(event, np.float64)
    values, place, rows = np.unique(p, return_inverse=True, return_counts=True)
    share = np.bincount(place, came) / rows
    curve = np.clip(isotonic_regression(share, weights=rows).x, 0.0, 1.0)
    base = came.mean()
    recalibrated, uncertainty = brier_score(curve[place], came).mean(), base * (1 - base)
    return Reliability(
        probability=values,
        rows=rows,
        recalibrated=curve,
        miscalibration=float(brier_score(p, came).mean() - recalibrated),
        discrimination=float(uncertainty - recalibrated),
        uncertainty=float(uncertainty),
    )


def hosmer_lemeshow(probability: ArrayLike, event: ArrayLike, groups: int = 10) -> float:
    """Return the p-value that probabilities, issued before the events, are calibrated.

    Rows are cut into groups of near equal size by probability; Σ (O − E)²/V over groups is χ² on
    as many degrees as groups (Hosmer and Lemeshow, Communications in Statistics 1980, for rows
    that the probabilities were not fitted on), V the sum of p(1 − p), so that probabilities need
    not be equal within a group. Rows are taken as independent.

    Parameters
    ----------
    probability : array, shape (n,), without NaN
    event : bool or 0/1 array, shape (n,)
    groups : int
        Fewer are made when a group would expect less than 5 events or non-events, at least one.
    """
    p, came = np.asarray(probability, np.float64), np.asarray(event, np.float64)
    expected = min(p.sum(), (1 - p).sum())
    groups = max(1, min(groups, int(expected // 5)))
    group = np.empty(len(p), np.int64)
    group[np.argsort(p, kind="stable")] = np.arange(len(p)) * groups // max(len(p), 1)
    variance = np.bincount(group, p * (1 - p))
    statistic = float((np.bincount(group, came - p) ** 2 / np.maximum(variance, 1e-12)).sum())
    return float(special.chdtrc(groups, statistic))
