"""What a series' own past says of its next steps, in the series' own unit.

Everything here reads one matrix of last values, so what is read at fit time and at forecast time is
the same by construction, and nothing after the issue can be read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.panel.design import Design

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

LAST_SEASON = "last season 1"  #: the value one season before, or as many as the horizon needs
HORIZON = "horizon"
_LEVEL_SEASONS = 4  # the level is the mean of so many last seasons: it moves, their shape stays
_LAST_SEASONS = 4  # so many values at the same place of earlier seasons are read one by one
_DRAWN = 5  # differences: a scale of one or two may be next to nothing by luck


@dataclass(frozen=True, slots=True)
class Typical:
    """What the scale of a series is drawn to where its own says little: constant, or short."""

    share: float  #: of the scale in the absolute level, the median over training origins
    scale: float  #: unit of the target, the median over training origins; for series of zeros


@dataclass(frozen=True, slots=True)
class OwnPast:
    """The centre and unit of each forecast, and what is read, in that unit from that centre."""

    centre: Floats  #: unit of the target, shape (n, k); NaN where a series has no value
    scale: Floats  #: unit of the target, shape (n,), positive where there is a centre
    columns: dict[str, Floats]  #: of shape (n, k), or (n, 1) where all steps share it


def own_past(recent: Floats, steps: Places, design: Design, typical: Typical | None) -> OwnPast:
    """Read the last values of each series for some steps ahead.

    The classical decomposition (Hyndman and Athanasopoulos, Forecasting: Principles and Practice,
    §3.4) over the last seasons: with S_i the mean of season i, the effect of a place in the season
    is the mean over seasons of y − S_i, the level that of the last four S_i. The centre of a
    forecast is level plus effect at its place. Its scale is the mean absolute difference of values
    a season apart, the unit of MASE (Hyndman and Koehler, International Journal of Forecasting
    2006), drawn to the typical one where there are few. Lags and rolling means are taken of values
    without their place's effect.

    Parameters
    ----------
    recent : shape (n, design.history_steps)
        Values up to the issue, oldest first; NaN where missing.
    steps : shape (n, k)
        Steps ahead, from 1.
    design : spans and season
    typical : None leaves scales as they are, NaN where they would be 0
    """
    n, season = len(recent), design.season
    whole = recent[:, recent.shape[1] - design.seasons * season :].reshape(
        n, design.seasons, season
    )
    effect, means = _decompose(whole)
    known = means[:, -_LEVEL_SEASONS:]
    level = np.where(np.isnan(known).all(axis=1), _mean(means, 1), _mean(known, 1))
    scale = _scale(whole, level, typical)
    place = (steps - 1) % season
    row = np.arange(n)[:, None]
    centre = level[:, None] + effect[row, place]

    unit = scale[:, None]
    columns = {HORIZON: steps.astype(np.float64)}
    for back in range(1, min(_LAST_SEASONS, design.seasons) + 1):
        columns[f"last season {back}"] = (whole[:, -back][row, place] - centre) / unit
    ahead_of_end = np.arange(-recent.shape[1], 0)
    smooth = (recent - effect[:, ahead_of_end % season] - level[:, None]) / unit
    for lag in design.lags:
        columns[f"lag {lag}"] = smooth[:, -lag][:, None]
    for span in design.rolling:
        mean, deviation = _moments(smooth[:, -span:])
        columns[f"mean {span}"], columns[f"deviation {span}"] = mean, deviation

    around = means if season > 1 else level[:, None]
    noise = (whole - effect[:, None, :] - around[:, :, None]) / scale[:, None, None]
    columns["spread here"] = _mean(np.abs(noise), 1)[row, place]
    flat = noise.reshape(n, -1)
    square = _mean(flat * flat, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns["skew"] = (_mean(flat * flat * flat, 1) / square**1.5)[:, None]
        columns["tails"] = (square / _mean(np.abs(flat), 1) ** 2)[:, None]
        columns["memory"] = (_mean(flat[:, 1:] * flat[:, :-1], 1) / square)[:, None]
    columns["noise"] = (scale / (scale + np.abs(level)))[:, None]
    columns["seasonality"] = _mean(np.abs(effect), 1)[:, None] / unit
    columns["filled"] = np.mean(~np.isnan(recent), axis=1)[:, None]
    return OwnPast(centre=centre, scale=scale, columns=columns)


def typical_of(past: OwnPast) -> Typical:
    """Return the medians of the scales that series have of themselves."""
    own = past.scale[np.isfinite(past.scale)]
    if not len(own):
        return Typical(share=0.0, scale=1.0)
    noise = past.columns["noise"]
    middle = float(np.median(noise[np.isfinite(noise)]))
    share = middle / (1 - middle) if middle < 1 else 0.0
    return Typical(share=share, scale=float(np.median(own)))


def _decompose(whole: Floats) -> tuple[Floats, Floats]:
    """Effects of the places, shape (n, season), 0 where unknown, and means of seasons, (n, K).

    Where values are missing, a season's mean depends on which: it is taken again without the
    effects of its places, and these again from it.
    """
    means = _mean(whole, 2)
    effect = np.nan_to_num(_mean(whole - means[:, :, None], 1))
    gaps = np.isnan(whole).any(axis=(1, 2)) & (whole.shape[2] > 1)
    if gaps.any():
        part = whole[gaps]
        means[gaps] = _mean(part - effect[gaps][:, None, :], 2)
        effect[gaps] = np.nan_to_num(_mean(part - means[gaps][:, :, None], 1))
    return effect, means


def _scale(whole: Floats, level: Floats, typical: Typical | None) -> Floats:
    """Mean absolute seasonal difference, drawn to what is typical by as many as `_DRAWN` of it."""
    differences = np.abs(whole[:, 1:] - whole[:, :-1])
    if typical is None:
        own = _mean(differences, (1, 2))
        return np.where(own > 0, own, np.nan)
    share = typical.share * np.abs(level)
    usual = np.where(share > 0, share, typical.scale)
    known = ~np.isnan(differences)
    total = np.where(known, differences, 0.0).sum(axis=(1, 2)) + _DRAWN * usual
    scale: Floats = total / (known.sum(axis=(1, 2)) + _DRAWN)
    return scale


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each row, shape (n, 1)."""
    mean = _mean(values, 1)
    deviation = np.sqrt(_mean((values - mean[:, None]) ** 2, 1))
    return mean[:, None], deviation[:, None]


def _mean(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Return the mean of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    found: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return found
