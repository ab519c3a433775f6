"""Fits a panel forecaster: one model of all series and all steps ahead, or one of each series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import ReferenceDataError
from schemas.forecasts import ForecastSpec
from schemas.stream import Stream
from transforms.calibrate.cqr import calibrate
from transforms.forecast.empirical import Climatology, sample_quantiles
from transforms.forecast.features import learn_features
from transforms.forecast.fitted import Fitted
from transforms.forecast.frame import interval_columns
from transforms.forecast.location_scale import LocationScale
from transforms.forecast.panel.choose import choose_kind
from transforms.forecast.panel.design import Design, design_of, horizon_of
from transforms.forecast.panel.fitted import (
    TOGETHER,
    FittedPanel,
    PanelModel,
    forecasts_table,
    in_units,
    series_texts,
)
from transforms.forecast.panel.frame import Frame, panel_frame
from transforms.forecast.panel.grid import Panel, Table, common_phase, read_panel
from transforms.forecast.panel.origins import choose_seasons, draw_origins, measure_typical
from transforms.forecast.panel.past import Typical
from transforms.forecast.panel.seasonal_naive import SeasonalNaive
from transforms.forecast.select import FEWEST_ROWS
from transforms.forecast.training import TrainingSet

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]
Origins: TypeAlias = tuple[Places, Places, Places]  #: as `draw_origins` returns them

DEFAULT_KINDS = (LocationScale.kind, SeasonalNaive.kind)
_ROWS = 60_000  # learnt from: twice as many cost twice, and gain .2 % on 1,000 series
_FOLDS, _BLOCKS = 3, 12
_MOST_CATEGORIES = 30  # of a key column: more say little that the past of a series does not
_PARTS = 4  # of the horizon, each with its own calibration
_FEWEST_CALIBRATING = 200  # rows with a whole history, of one part
_LEAST_ROWS_OF_ONE = 10_000  # drawn of one series for a model of its own
_FEWEST_OF_ONE = 10 * FEWEST_ROWS  # with fewer it has none


def fit_panel(table: Table, stream: Stream, spec: ForecastSpec, *, seed: int = 0) -> FittedPanel:
    """Fit the forecaster that a stream file asks for with `ahead:`.

    Direct multi-step forecasting with the step ahead as a feature, global over series (Montero-
    Manso and Hyndman, International Journal of Forecasting 2021): what each row reads of its
    series' past, and what it forecasts, is measured from a centre of its own in a unit of its own,
    so that one model serves all series and steps. Folds are blocks of valid time, so that no value
    is the outcome of two folds; out-of-fold forecasts choose the kind, and calibrate the interval
    over each quarter of the horizon (CQR, in units of the series' scales).

    Parameters
    ----------
    table
        The event time, the key columns, the target and the columns that are read; rows in any
        order, gaps and repetitions allowed.
    stream, spec
        The spec is one of the stream's, with `ahead`. With `series: each`, series of too few rows
        are forecast by a model of all series together.
    seed
        The same table and seed give the same forecaster, bit for bit.

    Raises
    ------
    StreamFileError
        When the spec has no `ahead`.
    SourceError
        When a column is missing, or of a wrong type.
    ReferenceDataError
        When no series has a value and another after it.
    """
    probe = design_of(stream, spec)
    probe = replace(probe, phase=common_phase(table, probe.time, probe.zone, probe.step))
    return fit_on(read_panel(table, probe), stream, spec, probe.phase, seed)


def fit_on(
    panel: Panel, stream: Stream, spec: ForecastSpec, phase: int, seed: int = 0
) -> FittedPanel:
    """Do the same for rows that lie on a grid of this phase, in microseconds."""
    if not (panel.lengths > 1).any():
        raise _without_outcomes(spec.target)
    rng = np.random.default_rng(seed)
    design = design_of(
        stream,
        spec,
        phase=phase,
        seasons=choose_seasons(panel, stream, spec, phase, rng),
        categories=tuple(
            name for name in stream.key if 1 < panel.keys[name].n_unique() <= _MOST_CATEGORIES
        ),
    )
    typical = measure_typical(panel, design, rng)
    drawn = draw_origins(panel, design, rng, _ROWS)
    kinds = (Climatology.kind, *(spec.models or DEFAULT_KINDS))
    together, out_of_fold = _fit_model(panel, drawn, design, typical, spec, seed, kinds)
    models = {TOGETHER: together}
    if horizon_of(spec).series == "each" and design.key:
        texts = series_texts(panel, design)
        rows = max(_LEAST_ROWS_OF_ONE, _ROWS // panel.series)
        for number, text in enumerate(texts):
            own = draw_origins(panel, design, rng, rows, only=number)
            if own[2].size < _FEWEST_OF_ONE:
                continue
            models[text], part = _fit_model(panel, own, design, typical, spec, seed, kinds)
            shared = out_of_fold.join(part.select(design.key).unique(), on=design.key, how="anti")
            out_of_fold = pl.concat([shared, part])
    known = panel.target[np.isfinite(panel.target)]
    return FittedPanel(
        design=design,
        typical=typical,
        levels=spec.levels,
        ends=interval_columns(spec),
        unconditional=tuple(sample_quantiles(known, np.array(spec.levels)).tolist()),
        models=models,
        out_of_fold=out_of_fold,
    )


def fit_naive(panel: Panel, fitted: FittedPanel, spec: ForecastSpec, seed: int = 0) -> FittedPanel:
    """Return seasonal naive forecasts, fitted and calibrated like another's."""
    drawn = draw_origins(panel, fitted.design, np.random.default_rng(seed), _ROWS)
    kinds = (SeasonalNaive.kind,)
    model, table = _fit_model(panel, drawn, fitted.design, fitted.typical, spec, seed, kinds)
    return replace(fitted, models={TOGETHER: model}, out_of_fold=table)


def _fit_model(
    panel: Panel,
    drawn: Origins,
    design: Design,
    typical: Typical,
    spec: ForecastSpec,
    seed: int,
    kinds: Sequence[str],
) -> tuple[PanelModel, pl.DataFrame]:
    """Fit and calibrate one model on some origins; return its out-of-fold forecasts as well."""
    frame, outcome = _learnable(panel, drawn, design, typical)
    features = learn_features(frame.features, frame.features.columns)
    training = TrainingSet(
        X=features.matrix(frame.features),
        y=(outcome - frame.centre) / frame.scale,
        folds=_folds(frame.valid),
        levels=np.array(spec.levels),
        names=features.names,
        categories=tuple(features.category_positions),
        seed=seed,
    )
    forecaster = choose_kind(training, features, kinds, design.target)
    model = _calibrated(forecaster, panel, frame, training.y, design, spec)
    quantiles = in_units(frame, forecaster.out_of_fold, design)
    bounds = model.interval(forecaster.out_of_fold, frame.steps, interval_columns(spec))
    table = forecasts_table(design, panel, frame, quantiles, in_units(frame, bounds, design))
    return model, table.with_columns(outcome=outcome)


def _learnable(
    panel: Panel, drawn: Origins, design: Design, typical: Typical
) -> tuple[Frame, Floats]:
    """Return the rows of origins that have a past and an outcome, and that.

    Raises
    ------
    ReferenceDataError
        When there is none.
    """
    frame = panel_frame(panel, *drawn, design, typical)
    outcome = panel.at(frame.series, frame.valid)
    rows = np.isfinite(frame.centre) & np.isfinite(outcome)
    if not rows.any():
        raise _without_outcomes(design.target)
    return frame.take(rows), outcome[rows]


def _without_outcomes(target: str) -> ReferenceDataError:
    return ReferenceDataError(
        f"target {target!r}: no series has a value and another within the horizon after it; "
        "give a longer reference, or look at `step`"
    )


def _calibrated(
    forecaster: Fitted,
    panel: Panel,
    frame: Frame,
    scaled: Floats,
    design: Design,
    spec: ForecastSpec,
) -> PanelModel:
    """Measure on out-of-fold forecasts how far the interval moves at each part of the horizon."""
    low, high = interval_columns(spec)
    lower, upper = forecaster.out_of_fold[:, low], forecaster.out_of_fold[:, high]
    parts = np.array_split(np.arange(1, design.horizon + 1), _PARTS)
    last_steps = [int(part[-1]) for part in parts if len(part)]
    part_of = np.searchsorted(last_steps, frame.steps)
    grown = frame.issue - panel.first[frame.series] >= design.history_steps - 1
    return PanelModel(
        forecaster=forecaster,
        last_steps=tuple(last_steps),
        conformals=tuple(
            calibrate(lower[own], upper[own], scaled[own], spec.interval)
            for own in (_enough(part_of == number, grown) for number in range(len(last_steps)))
        ),
    )


def _enough(rows: Mask, grown: Mask) -> Mask:
    """Return the rows with a whole history, as most forecasts have, where these are enough."""
    return rows & grown if (rows & grown).sum() >= _FEWEST_CALIBRATING else rows


def _folds(valid: Places) -> Places:
    """Cut the time that is forecast into blocks, and deal these to the folds in turn.

    No value is the outcome of two folds, and each fold has blocks of the first steps, when series
    are young, and of the last.
    """
    edges = np.quantile(valid, np.arange(1, _BLOCKS) / _BLOCKS)
    return np.searchsorted(edges, valid) % _FOLDS
