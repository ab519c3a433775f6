"""The rows a panel forecaster learns from and forecasts: one for each series, issue and step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transforms.calendar import calendar_names, calendar_terms
from transforms.forecast.panel.design import Design
from transforms.forecast.panel.grid import Panel
from transforms.forecast.panel.past import OwnPast, Typical, own_past

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_AT_ONCE = 2**22  # values of the past in memory at once


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of features in the unit of their series, and what takes forecasts back to the target's.

    Ordered by origin (a series and an issue), then by step ahead.
    """

    features: pl.DataFrame  #: shape (rows, features)
    series: Places
    issue: Places  #: step of the last value that is known
    steps: Places  #: ahead of the issue, from 1
    centre: Floats  #: unit of the target; NaN where the series has no value yet
    scale: Floats  #: unit of the target

    @property
    def valid(self) -> Places:
        """The step that is forecast."""
        return self.issue + self.steps

    def take(self, rows: NDArray[np.bool_]) -> Frame:
        """Return some of the rows."""
        return Frame(
            features=self.features.filter(pl.Series(rows)),
            series=self.series[rows],
            issue=self.issue[rows],
            steps=self.steps[rows],
            centre=self.centre[rows],
            scale=self.scale[rows],
        )


def panel_frame(
    panel: Panel, series: Places, issue: Places, steps: Places, design: Design, typical: Typical
) -> Frame:
    """Return the rows of some origins, at training as at forecasting.

    Parameters
    ----------
    panel : rows later than an issue are read for `design.known` columns only
    series, issue : shape (n,)
        The series and the last known step of each origin.
    steps : shape (n, k)
        Steps ahead of each, from 1.
    design, typical : as for `own_past`

    Returns
    -------
    Frame
        Of n × k rows. Its features are those of `own_past`, the place in the season, the calendar
        terms and known columns of the valid time, the other columns' values at the issue, and
        those of the keys that are read as categories.
    """
    parts = list(pasts(panel, series, issue, steps, design, typical))
    columns = {
        f"{design.target}: {name}": np.concatenate(
            [np.broadcast_to(p.columns[name], p.centre.shape).ravel() for p in parts]
        )
        for name in parts[0].columns
    }
    every = steps.shape[1]
    of, at = np.repeat(series, every), np.repeat(issue, every)
    ahead = steps.ravel()
    valid = at + ahead
    if design.season > 1:
        columns[f"{design.target}: place"] = (valid % design.season).astype(np.float64)
    seconds = design.micros(valid) // 10**6
    terms = calendar_terms(seconds, design.calendar)
    columns |= {name: terms[:, j] for j, name in enumerate(calendar_names(design.calendar))}
    features = pl.DataFrame(columns)
    if design.at_issue:  # looked up once for all steps ahead
        rows = np.repeat(np.arange(len(series)), every)
        features = features.hstack(panel.columns_at(design.at_issue, series, issue)[rows])
    for name in design.categories:
        features = features.with_columns(panel.keys[name].cast(pl.String)[of])
    if design.known:
        features = features.hstack(panel.columns_at(design.known, of, valid))
    return Frame(
        features=features,
        series=of,
        issue=at,
        steps=ahead,
        centre=np.concatenate([p.centre.ravel() for p in parts]),
        scale=np.repeat(np.concatenate([p.scale for p in parts]), every),
    )


def pasts(
    panel: Panel,
    series: Places,
    issue: Places,
    steps: Places,
    design: Design,
    typical: Typical | None,
) -> Iterator[OwnPast]:
    """Read the past of some origins, a part of them at a time."""
    length = design.history_steps
    some = max(1, _AT_ONCE // length)
    for begin in range(0, max(1, len(series)), some):
        part = slice(begin, begin + some)
        recent = panel.recent(series[part], issue[part], length)
        yield own_past(recent, steps[part], design, typical)
