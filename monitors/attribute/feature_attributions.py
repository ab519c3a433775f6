"""Compares what features add to a forecast in a window with what they add in the reference.

The values are those of the trees' paths (`AdditiveTrees.path_values`): a few hundred rows cost a
tenth of a second, they need no background, a feature that no tree splits on has 0, and the same
bias is in the reference's values as in the window's. Two things are compared of each feature:

- where its values lie: the Wasserstein-1 distance of the window's from the reference's, W. It is
  never less than the change of the mean of their sizes;
- its swing: their mean absolute deviation from the window's median. What a stuck sensor adds is a
  value like any other, but the same in every row.

How log W and the log of the swing vary from window to window is seen on the reference's own
windows, each against the others; so is what the largest evidence over all features comes to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtr

from monitors.encoder import FloatArray
from monitors.feature_shift.adjusted import adjusted_p_values
from monitors.feature_shift.locate import Evidence
from monitors.null import Null, gumbel, leave_one_out
from schemas.errors import BaselineError
from transforms.forecast.attributions import additive_part
from transforms.forecast.fitted import Fitted

ATTRIBUTIONS_VERSION = 1
FEWEST_WINDOWS = 8  # of the reference, as for the scores of forecasts
FEWEST_ROWS = 20  # of a window
IGNORE_BELOW = 0.01  # standard deviations of the forecast: changes that no one pages for
ROWS_PER_WINDOW = 500  # of the reference
_MOST_ROWS = 20_000  # of the reference: their values take some seconds
_GRID = 200  # quantiles that a distribution is kept at
_REST = 0.1  # of the typical swing, added to a swing: a rare feature rests in many windows
_NO_SPREAD = 1e-9  # of logs: rounding
_LARGEST = 300.0  # −log₁₀ of the smallest p-value that a float can hold


@dataclass(frozen=True, slots=True)
class AttributionNull:
    """What the values of a forecaster's features are in the reference, and how its windows vary."""

    names: tuple[str, ...]  #: the features that are watched
    quantiles: FloatArray  #: shape (features, _GRID), of all values of each, in the target's unit
    drive: FloatArray  #: shape (features,), mean absolute value
    swing: FloatArray  #: shape (features,), mean over windows
    spread: float  #: standard deviation of the forecast
    mean: FloatArray  #: shape (2, features), of log W and log swing over windows
    deviation: FloatArray  #: likewise; 0 where a feature is not used, or never varies
    law: Null  #: of the largest evidence; knows the rows of a window and how many there were

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "version": ATTRIBUTIONS_VERSION,
            "names": list(self.names),
            "quantiles": self.quantiles.tolist(),
            "drive": self.drive.tolist(),
            "swing": self.swing.tolist(),
            "spread": self.spread,
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "law": self.law.to_json(),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> AttributionNull:
        """Return what `to_dict` wrote.

        Raises
        ------
        BaselineError
            When it was written by another version.
        """
        if (version := state.get("version")) != ATTRIBUTIONS_VERSION:
            raise BaselineError(
                f"the attributions of the reference have version {version!r}, this program reads "
                f"{ATTRIBUTIONS_VERSION}; run `tidegauge fit` again"
            )
        arrays = ("drive", "swing", "mean", "deviation")
        return cls(
            names=tuple(state["names"]),
            quantiles=np.asarray(state["quantiles"], np.float64).reshape(-1, _GRID),
            spread=float(state["spread"]),
            law=Null.from_json(state["law"]),
            **{name: np.asarray(state[name], np.float64) for name in arrays},
        )


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """What the test says of one feature of one window; distances in the unit of the target."""

    name: str
    evidence: float  #: −log₁₀ of the p-value of this feature
    threshold: float
    p_adjusted: float
    shift: float  #: W, how far its values moved on average
    drive: tuple[float, float]  #: mean absolute value in the window, in the reference
    mean: tuple[float, float]  #: mean value, likewise
    swing: tuple[float, float]  #: likewise
    passed: tuple[bool, bool]  #: whether the evidence of shift, of swing passes the threshold
    alarm: bool


def watched_values(forecaster: Fitted, frame: pl.DataFrame, names: Sequence[str]) -> FloatArray:
    """Return the path values of some features, shape (rows, features), in the target's unit."""
    trees = additive_part(forecaster)
    if trees is None:
        return np.zeros((frame.height, len(names)))
    values, _ = trees.path_values(forecaster.features.matrix(frame))
    return values[:, [forecaster.features.names.index(name) for name in names]]


def attribution_null(
    forecaster: Fitted, frame: pl.DataFrame, windows: NDArray[np.int64], names: Sequence[str]
) -> AttributionNull:
    """Learn from the reference's windows how the values of features vary.

    Parameters
    ----------
    frame : rows of the reference, as `forecast_frame` makes them.
    windows : int64 array, shape (rows,)
        Of each row, the number of its window (of one key). Windows with less than half the median
        window's rows are left out.
    names : features to watch.
    """
    chosen = _rows_of_windows(windows)
    if not chosen:
        return null_of([np.zeros((0, len(names)))], names, 0.0)
    used = frame[np.concatenate(chosen)]
    values = watched_values(forecaster, used, names)
    trees = additive_part(forecaster)
    spread = 0.0
    if trees is not None:
        spread = float(trees.predict(forecaster.features.matrix(used)).std())
    ends = np.cumsum([len(own) for own in chosen])
    return null_of(np.split(values, ends[:-1]), names, spread)


def null_of(windows: Sequence[FloatArray], names: Sequence[str], spread: float) -> AttributionNull:
    """Learn how values vary from window to window.

    Parameters
    ----------
    windows : FloatArrays, shape (rows, features), the values of each window; at least one.
    spread : standard deviation of the forecast, in the same unit.
    """
    values = np.concatenate(windows)
    if not len(values):
        values = np.zeros((1, len(names)))
    quantiles = _quantiles(values)
    swings = np.array([_swing(own) for own in windows if len(own)]).reshape(-1, len(names))
    swing = swings.mean(axis=0) if len(swings) else np.zeros(len(names))
    distances = [
        # F_w − F = (F_w − F without w) (1 − n_w/n): against the others, not against itself, too
        _wasserstein(_quantiles(own), quantiles) / max(1.0 - len(own) / len(values), 1e-9)
        for own in windows
        if len(own)
    ]
    away = np.array(distances).reshape(-1, len(names))
    seen = np.stack([_log(away, 0.0), _log(swings, _REST * swing)], axis=1)
    mean, deviation, law = _laws(seen, float(np.median([len(own) for own in windows])))
    return AttributionNull(
        names=tuple(names),
        quantiles=quantiles,
        drive=np.abs(values).mean(axis=0),
        swing=swing,
        spread=spread,
        mean=mean,
        deviation=deviation,
        law=law,
    )


def compare_attributions(
    values: FloatArray, null: AttributionNull, level: float
) -> list[AttributionResult]:
    """Test the values of one window, strongest first; features without a law are left out.

    Parameters
    ----------
    values : FloatArray, shape (rows, features)
        As `watched_values` gives them, at least one row.
    level : probability of any alarm when nothing changed.
    """
    quantiles, swing = _quantiles(values), _swing(values)
    shift = _wasserstein(quantiles, null.quantiles)
    share = min(1.0, len(values) / null.law.rows)
    seen = np.stack([_log(shift * math.sqrt(share), 0.0), _log(swing, _REST * null.swing)])
    # noise between rows is taken to grow in shorter windows, and not to average out in longer ones
    wider = np.array([[1.0], [1.0 / math.sqrt(share)]])
    deviation = null.deviation * wider * math.sqrt(1.0 + 1.0 / null.law.windows)
    alive = np.flatnonzero((null.deviation > 0).all(axis=0))
    parts = _evidence((seen - null.mean)[:, alive] / deviation[:, alive], null.law.windows - 1.0)
    evidence = parts.max(axis=0)
    threshold = null.law.threshold(level)
    least = IGNORE_BELOW * null.spread
    change = np.maximum(shift, np.abs(swing - null.swing))[alive]
    alarm = (evidence > threshold) & (change >= least)
    order = np.argsort(-evidence, kind="stable")
    ranked = [
        Evidence(int(alive[k]), "conditional", float(evidence[k]), threshold, 0.0, bool(alarm[k]))
        for k in order
    ]
    adjusted = adjusted_p_values(ranked, null.law, 0)
    drive, mean = np.abs(values).mean(axis=0), values.mean(axis=0)
    return [
        AttributionResult(
            name=null.names[item.feature],
            evidence=item.evidence,
            threshold=threshold,
            p_adjusted=least_level,
            shift=float(shift[item.feature]),
            drive=(float(drive[item.feature]), float(null.drive[item.feature])),
            mean=(float(mean[item.feature]), float(null.quantiles[item.feature].mean())),
            swing=(float(swing[item.feature]), float(null.swing[item.feature])),
            passed=(bool(parts[0, k] > threshold), bool(parts[1, k] > threshold)),
            alarm=item.alarm,
        )
        for k, item, least_level in zip(order, ranked, adjusted, strict=True)
    ]


def _laws(seen: FloatArray, rows: float) -> tuple[FloatArray, FloatArray, Null]:
    """Return mean and deviation of the logs of windows, and the law of the largest evidence.

    Parameters
    ----------
    seen : FloatArray, shape (windows, 2, features)
    rows : of the median window.
    """
    count, features = len(seen), seen.shape[-1]
    mean, deviation = np.zeros((2, features)), np.zeros((2, features))
    largest = np.zeros(2)
    if count >= FEWEST_WINDOWS:
        mean, deviation = seen.mean(axis=0), seen.std(axis=0, ddof=1)
        alive = (deviation > _NO_SPREAD).all(axis=0)
        deviation[:, ~alive] = 0.0
        if alive.any():
            middle, width = leave_one_out(seen[:, :, alive])
            width = np.maximum(width, _NO_SPREAD) * math.sqrt(1.0 + 1.0 / (count - 1))
            unseen = _evidence((seen[:, :, alive] - middle) / width, count - 2.0)
            largest = unseen.max(axis=(-2, -1))
    law = Null(
        rows=rows,
        shape=np.full((1, features), np.nan),
        scale=np.ones((1, features)),
        skew=np.ones((1, features)),
        shares=np.ones(1),
        largest=np.sort(largest),
        tail=gumbel(largest),
        windows=float(count),
    )
    return mean, deviation, law


def _evidence(z: FloatArray, degrees: float) -> FloatArray:
    """Return −log₁₀ p of distances (one-sided) and swings (two-sided), each half of the level.

    Parameters
    ----------
    z : FloatArray, shape (..., 2, features): by the predictive t distribution.
    """
    tails = np.stack([stdtr(degrees, -z[..., 0, :]), 2.0 * stdtr(degrees, -np.abs(z[..., 1, :]))])
    evidence = np.abs(np.log10(np.clip(2.0 * tails, 10.0**-_LARGEST, 1.0)))
    return np.moveaxis(evidence, 0, -2)


def _rows_of_windows(windows: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Return the rows of each window that is used, evenly chosen where there are many."""
    numbers, counts = np.unique(windows, return_counts=True)
    order = np.argsort(windows, kind="stable")
    each = np.split(order, np.cumsum(counts)[:-1]) if len(numbers) else []
    typical = float(np.median(counts)) if len(counts) else 0.0
    used = [own for own in each if len(own) >= max(FEWEST_ROWS, typical / 2)]
    used = [own[:: -(-len(own) // ROWS_PER_WINDOW)] for own in used]
    step = -(-sum(len(own) for own in used) // _MOST_ROWS)
    return used[:: max(step, 1)]


def _quantiles(values: FloatArray) -> FloatArray:
    """Return the quantiles of each column in the middle of as many equal parts."""
    levels = (np.arange(_GRID) + 0.5) / _GRID
    return np.ascontiguousarray(np.quantile(values, levels, axis=0).T, np.float64)


def _wasserstein(quantiles: FloatArray, reference: FloatArray) -> FloatArray:
    """Return ∫ |F⁻¹ − G⁻¹| of each column: the Wasserstein-1 distance."""
    found: FloatArray = np.abs(quantiles - reference).mean(axis=-1)
    return found


def _swing(values: FloatArray) -> FloatArray:
    found: FloatArray = np.abs(values - np.median(values, axis=0)).mean(axis=0)
    return found


def _log(distances: FloatArray, rest: FloatArray | float) -> FloatArray:
    found: FloatArray = np.log(np.maximum(distances + rest, 1e-300))
    return found
