"""Rolling origins over a panel: what its forecasts would have scored, beside the naive ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import ReferenceDataError
from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.forecast.empirical import Climatology, sample_quantiles
from transforms.forecast.panel.design import design_of
from transforms.forecast.panel.fit import fit_naive, fit_on
from transforms.forecast.panel.fitted import FittedPanel
from transforms.forecast.panel.grid import Panel, Table, common_phase, read_panel
from transforms.forecast.panel.seasonal_naive import SeasonalNaive
from transforms.scores import interval_coverage, pinball_loss, winkler_score

Floats = NDArray[np.float64]

FITTED = "fitted"  # the name of the forecaster that is evaluated, whatever kind each origin chose
_PARTS = 4  # of the horizon
_MOST_ISSUES = 50  # between two fits


@dataclass(frozen=True, slots=True)
class PanelOrigin:
    """One fit, on everything up to a time."""

    issue_time: datetime  #: of its first forecasts
    issues: int  #: at how many times it forecast
    kind: str  #: of the model chosen


@dataclass(frozen=True, slots=True)
class HorizonScores:
    """Mean scores of one forecaster over a part of the horizon, all origins together."""

    forecaster: str  #: ``fitted``, ``seasonal_naive`` or ``climatology``
    first_step: int
    last_step: int
    rows: int  #: forecasts with an outcome
    pinball: float  #: unit of the target, mean over rows and levels
    scaled_pinball: float  #: each row in units of its series' scale: series of any size compare
    coverage: float  #: of the interval; calibrated but for climatology
    width: float  #: unit of the target
    winkler: float  #: unit of the target


@dataclass(frozen=True, slots=True)
class PanelBacktest:
    """How a panel forecaster did over rolling origins."""

    origins: list[PanelOrigin]
    rows: list[HorizonScores]  #: of each forecaster: the parts of the horizon, then all of it

    def skill(self, over: str = SeasonalNaive.kind) -> float:
        """1 − scaled pinball / that of another forecaster, over the whole horizon."""
        whole = {row.forecaster: row.scaled_pinball for row in self.rows}  # all of it comes last
        return 1 - whole[FITTED] / whole[over] if whole[over] > 0 else 0.0


def backtest_panel(
    table: Table, stream: Stream, spec: ForecastSpec, *, origins: int = 5, seed: int = 0
) -> PanelBacktest:
    """Evaluate over an expanding window (Tashman, International Journal of Forecasting 2000).

    The time from the first row to the last is cut into `origins` + 1 blocks. For each block after
    the first, the forecaster is fitted on all before it, and forecasts the whole horizon from the
    block's start and, without a new fit, from every horizon and a step after it (so that issues
    meet all places of a season). Beside it on the same issues: seasonal naive, fitted and
    calibrated alike, and climatology, the quantiles of each series' own past.

    Parameters
    ----------
    table, stream, spec, seed : as for `fit_panel`
    origins : fewer are taken where blocks would be shorter than the horizon

    Raises
    ------
    ReferenceDataError
        When the rows span less than two horizons.
    SourceError, StreamFileError
        As `fit_panel` does.
    """
    probe = design_of(stream, spec)
    probe = replace(probe, phase=common_phase(table, probe.time, probe.zone, probe.step))
    panel = read_panel(table, probe)
    first, last = int(panel.first.min()), int((panel.first + panel.lengths).max()) - 1
    blocks = min(origins + 1, (last - first + 1) // probe.horizon)
    if blocks < 2:
        raise ReferenceDataError(
            f"the rows span {last - first + 1} steps; a backtest of a horizon of {probe.horizon} "
            f"needs {2 * probe.horizon}: give a longer reference, or a shorter horizon"
        )
    edges = first + np.arange(blocks + 1) * (last - first + 1) // blocks - 1
    told: list[PanelOrigin] = []
    found: list[pl.DataFrame] = []
    for start, end in zip(edges[1:-1].tolist(), edges[2:].tolist(), strict=True):
        known = panel.until(start)
        fitted = fit_on(known, stream, spec, probe.phase, seed)
        naive = fit_naive(known, fitted, spec, seed)
        issues = list(range(start, end, probe.horizon + 1))
        issues = issues[:: -(-len(issues) // _MOST_ISSUES)]
        told.append(PanelOrigin(fitted.design.time_of(start), len(issues), fitted.kind))
        own = _own_quantiles(known, fitted)
        for place in issues:
            forecast = fitted.forecast_at(panel, place)
            every = np.repeat(np.arange(panel.series), probe.horizon)
            outcome = panel.at(every, place + forecast["horizon"].to_numpy())
            tables = {
                FITTED: forecast,
                SeasonalNaive.kind: naive.forecast_at(panel, place),
                Climatology.kind: _with_quantiles(forecast, own[every], fitted.ends),
            }
            found += [
                t.with_columns(forecaster=pl.lit(name), outcome=pl.Series(outcome))
                for name, t in tables.items()
            ]
    return PanelBacktest(told, list(_scores(pl.concat(found), spec, fitted)))


def _own_quantiles(panel: Panel, fitted: FittedPanel) -> Floats:
    """Quantiles of the past values of each series, shape (series, levels)."""
    levels = np.array(fitted.levels)
    rows = []
    for number in range(panel.series):
        values = panel.target[panel.starts[number] : panel.starts[number + 1]]
        known = values[np.isfinite(values)]
        rows.append(sample_quantiles(known, levels) if len(known) else fitted.unconditional)
    return np.array(rows)


def _with_quantiles(
    forecast: pl.DataFrame, quantiles: Floats, ends: tuple[int, int]
) -> pl.DataFrame:
    """Return a forecast with other quantiles, whose ends are its interval."""
    return forecast.with_columns(
        quantiles=pl.Series(quantiles).arr.to_list(),
        lower=quantiles[:, ends[0]],
        upper=quantiles[:, ends[1]],
    )


def _scores(rows: pl.DataFrame, spec: ForecastSpec, fitted: FittedPanel) -> Iterator[HorizonScores]:
    rows = rows.filter(pl.col("outcome").is_not_nan())
    outcome, lower, upper, scale, steps = (
        rows[name].to_numpy() for name in ("outcome", "lower", "upper", "scale", "horizon")
    )
    quantiles = rows["quantiles"].list.to_array(len(spec.levels)).to_numpy()
    loss = pinball_loss(outcome, quantiles, spec.levels).mean(axis=1)
    winkler = winkler_score(outcome, lower, upper, spec.interval)
    forecasters = rows["forecaster"].to_numpy()
    parts = [part for part in np.array_split(np.arange(1, fitted.horizon + 1), _PARTS) if len(part)]
    spans = [(int(part[0]), int(part[-1])) for part in parts]
    if len(spans) > 1:
        spans.append((1, fitted.horizon))
    for name in (FITTED, SeasonalNaive.kind, Climatology.kind):
        for first, last in spans:
            own = (forecasters == name) & (steps >= first) & (steps <= last)
            if not own.any():
                continue
            yield HorizonScores(
                forecaster=name,
                first_step=first,
                last_step=last,
                rows=int(own.sum()),
                pinball=float(loss[own].mean()),
                scaled_pinball=float((loss[own] / scale[own]).mean()),
                coverage=interval_coverage(outcome[own], lower[own], upper[own]),
                width=float((upper[own] - lower[own]).mean()),
                winkler=float(winkler[own].mean()),
            )
