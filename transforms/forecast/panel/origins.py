"""Which issues a panel forecaster learns from, and over how many seasons it looks back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.forecast.panel.design import Design, design_of
from transforms.forecast.panel.frame import pasts
from transforms.forecast.panel.grid import Panel
from transforms.forecast.panel.past import Typical, typical_of

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_STEPS = 4  # of the horizon at each origin: many origins say more than many steps of one
_SHORT_SHARE = 0.1  # of the origins, for series that have just begun
_SEASONS = (4, 8, 16, 32)
_MOST_STEPS = 1_344  # of history: eight weeks of hours
_ORIGINS_TO_CHOOSE = 2_000


def draw_origins(
    panel: Panel,
    design: Design,
    rng: np.random.Generator,
    rows: int,
    only: int | None = None,
) -> tuple[Places, Places, Places]:
    """Draw training origins of all series, and steps ahead of each; of one series, or of all.

    Origins are drawn evenly from all steps of all series that have a step after them: mostly those
    with a whole history, as forecasts have, and a tenth from the rest, so that the young
    series a forecast may meet are learnt as well. All are taken, with all steps, where there are
    few enough.

    Returns
    -------
    series, issue : shape (n,)
    steps : shape (n, k)
        One from each of k even parts of the horizon.
    """
    origins = np.maximum(panel.lengths - 1, 0)
    if only is not None:
        origins = np.where(np.arange(panel.series) == only, origins, 0)
    young = np.minimum(design.history_steps - 1, origins)  # before their history is whole
    grown = origins - young
    if (young.sum() + grown.sum()) * design.horizon <= rows:
        share, every = (young.sum(), grown.sum()), design.horizon
    else:
        every = min(_STEPS, design.horizon)
        count = rows // every
        few = min(int(young.sum()), max(int(_SHORT_SHARE * count), count - int(grown.sum())))
        share = (few, min(int(grown.sum()), count - few))
    parts = [_draw(young, share[0], rng), _draw(grown, share[1], rng)]
    series = np.concatenate([of for of, _ in parts])
    since = np.concatenate([parts[0][1], parts[1][1] + design.history_steps - 1])
    edges = np.arange(every + 1) * design.horizon // every
    steps = edges[:-1] + 1 + (rng.random((len(series), every)) * np.diff(edges)).astype(np.int64)
    return series, panel.first[series] + since, steps


def choose_seasons(
    panel: Panel, stream: Stream, spec: ForecastSpec, phase: int, rng: np.random.Generator
) -> int:
    """Return over how many seasons the centre of a forecast is best measured.

    Long where the season keeps its shape, short where it changes: the number with the least mean
    absolute error of the centre, in units of the scale, over some origins with a whole history. At
    most half of the typical series, so that enough origins have one.
    """
    season = design_of(stream, spec).season
    most = min(np.median(panel.lengths) / 2, _MOST_STEPS) / season
    tried = [count for count in _SEASONS if count <= most] or [2]
    if len(tried) == 1 or season == 1:
        return tried[-1]
    longest = design_of(stream, spec, phase=phase, seasons=tried[-1])
    series, issue, steps = draw_origins(panel, longest, rng, _ORIGINS_TO_CHOOSE * _STEPS)
    outcome = panel.at(series[:, None], issue[:, None] + steps)
    errors = {}
    scale = None
    for count in reversed(tried):
        design = replace(longest, seasons=count, lags=(), rolling=(count * season,))
        found = list(pasts(panel, series, issue, steps, design, None))
        centre = np.concatenate([past.centre for past in found])
        if scale is None:
            scale = np.concatenate([past.scale for past in found])[:, None]
        error = np.abs(outcome - centre) / scale
        known = error[np.isfinite(error)]
        errors[count] = float(known.mean()) if known.size else np.inf
    return min(errors, key=errors.__getitem__)


def measure_typical(panel: Panel, design: Design, rng: np.random.Generator) -> Typical:
    """Return what the scales of all series are drawn to."""
    series, issue, steps = draw_origins(panel, design, rng, _ORIGINS_TO_CHOOSE)
    return typical_of(next(pasts(panel, series, issue, steps, design, None)))


def _draw(counts: Places, some: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """Draw some of sum(counts) places without repetition: of which series, and which there."""
    ends = np.cumsum(counts)
    drawn = np.sort(rng.choice(int(ends[-1]), size=some, replace=False))
    series = np.searchsorted(ends, drawn, side="right")
    return series, drawn - (ends - counts)[series]
