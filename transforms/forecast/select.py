"""Fits a forecaster: the kind with the lowest out-of-fold pinball loss, climatology included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import SourceError, did_you_mean
from transforms.forecast.empirical import Climatology, cross_fit_climatology, mean_pinball
from transforms.forecast.features import learn_features
from transforms.forecast.fitted import Fitted
from transforms.forecast.kinds import CROSS_FITS, DEFAULT_KINDS
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]

FEWEST_ROWS = 50  # below, no model of the features can be told from luck
_ROWS_TO_CHOOSE = 10_000  # the kind is chosen on so many rows, evenly spread; it is fitted on all


def fit_forecaster(
    table: pl.DataFrame,
    target: str,
    features: Sequence[str],
    levels: Sequence[float],
    folds: NDArray[np.int64],
    seed: int,
    weights: Floats | None = None,
    kinds: Sequence[str] = DEFAULT_KINDS,
) -> Fitted:
    """Fit some kinds of forecasters, and keep the best out of fold.

    Parameters
    ----------
    table : DataFrame
        Numbers, booleans, texts and times; nulls allowed. Rows whose target is null are left out.
    target, features : column names
    levels : increasing floats in (0, 1)
    folds : int array, shape (rows,)
        Fold of each row, at least two; contiguous in time (`contiguous_folds`), or out-of-fold
        errors of dependent rows look too small.
    seed : int
        The same table and seed give the same forecaster, bit for bit.
    weights : float64 array, shape (rows,)
        How much each row counts, in units of a row; those of 0 are left out. None: each counts 1.
    kinds : names of `transforms.forecast.kinds`
        Climatology is tried as well, always.

    Returns
    -------
    Fitted
        With the out-of-fold quantiles of every row. Climatology when fewer than `FEWEST_ROWS` rows
        have a target, when it is constant, or when there are no features.

    Raises
    ------
    SourceError
        When a column is missing, or the target is no number or has no value at all.
    """
    for name in (target, *features):
        if name not in table.columns:
            raise SourceError(
                f"the table has no column {name!r}{did_you_mean(name, table.columns)}"
            )
    if not (table[target].dtype.is_numeric() or table[target].dtype == pl.Null):
        raise SourceError(f"target {target!r} holds {table[target].dtype} values, not numbers")
    outcome = table[target].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(outcome)
    if not known.any():
        raise SourceError(
            f"target {target!r} has no value in any of {table.height} rows; a forecaster needs at "
            "least one: check the column, or leave out the forecast"
        )
    if weights is not None:
        known &= weights > 0
        if not known.any():
            raise SourceError(f"no row with a value of target {target!r} has a positive weight")
        weights = weights[known]
    encoding = learn_features(table, features)
    training = TrainingSet(
        X=encoding.matrix(table)[known],
        y=outcome[known],
        folds=np.asarray(folds)[known],
        levels=np.asarray(levels, np.float64),
        names=encoding.names,
        categories=tuple(encoding.category_positions),
        seed=seed,
        weights=weights,
    )
    chosen, losses = _choose(training, kinds)
    out_of_fold = np.full((table.height, len(levels)), np.nan)
    out_of_fold[known] = chosen.quantiles
    return Fitted(
        target=target,
        levels=tuple(float(level) for level in levels),
        features=encoding,
        model=chosen.refit(),
        losses=losses,
        out_of_fold=out_of_fold,
    )


def contiguous_folds(order: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Cut rows into `count` folds of near equal size that are contiguous in `order` (such as time).

    Returns
    -------
    int64 array, shape (n,): the fold of each row, from 0. Ties keep their order in the table.
    """
    folds = np.empty(len(order), np.int64)
    folds[np.argsort(order, kind="stable")] = np.arange(len(order)) * count // max(len(order), 1)
    return folds


def _choose(training: TrainingSet, kinds: Sequence[str]) -> tuple[CrossFit, dict[str, float]]:
    """Return the best cross-fit on all rows, and the losses of those compared."""
    y, levels = training.y, training.levels
    if len(np.unique(training.folds)) < 2 and len(y) > 1:
        training = replace(training, folds=np.arange(len(y)) * 2 // len(y))
    climatology = (
        cross_fit_climatology(training)
        if len(y) > 1
        else CrossFit(
            np.tile(y[:, None], len(levels)), lambda: Climatology((float(y[0]),) * len(levels))
        )
    )
    losses = {Climatology.kind: mean_pinball(y, climatology.quantiles, levels, training.weights)}
    if len(y) < FEWEST_ROWS or training.X.shape[1] == 0 or y.min() == y.max():
        return climatology, losses
    some = np.arange(0, len(y), -(-len(y) // _ROWS_TO_CHOOSE))
    few = training.take(some)
    trials = {kind: CROSS_FITS[kind](few) for kind in kinds if kind != Climatology.kind}
    quantiles = {kind: trial.quantiles for kind, trial in trials.items()}
    quantiles[Climatology.kind] = climatology.quantiles[some]
    losses = {kind: mean_pinball(few.y, q, levels, few.weights) for kind, q in quantiles.items()}
    best = min(losses, key=losses.__getitem__)
    if best == Climatology.kind:
        return climatology, losses
    chosen = trials[best] if len(some) == len(y) else CROSS_FITS[best](training)
    lost, least = (
        mean_pinball(y, c.quantiles, levels, training.weights) for c in (chosen, climatology)
    )
    if lost >= least:
        return climatology, losses
    return chosen, losses
