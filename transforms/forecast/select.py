"""Fits a forecaster: the kind with the lowest out-of-fold pinball loss, climatology included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import SourceError, did_you_mean
from transforms.forecast.aggregate.cross_fit import aggregate_trials
from transforms.forecast.aggregate.model import Aggregate
from transforms.forecast.empirical import Climatology, cross_fit_climatology, mean_pinball
from transforms.forecast.features import learn_features
from transforms.forecast.fitted import Fitted
from transforms.forecast.kinds import COMPARISONS, CROSS_FITS, DEFAULT_KINDS, suits
from transforms.forecast.training import CrossFit, TrainingSet, some_rows

Floats = NDArray[np.float64]

FEWEST_ROWS = 50  # below, no model of the features can be told from luck
# Up to so many rows every kind is fitted on all of them, and their aggregate is tried. Beyond,
# where kinds differ by more than an aggregate gains, one is chosen on some, evenly spread.
_ROWS_TO_COMBINE, _ROWS_TO_CHOOSE = 10_000, 2_500
_ROWS_FOR_MORE_FOLDS = 20_000  # more than two folds up to here


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
        Climatology is tried as well, always. The aggregate is of the others; of more than 10,000
        rows it is tried only where no other is named.

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
    if len(y) > _ROWS_FOR_MORE_FOLDS:
        training = replace(training, folds=_every_second(training.folds))
    kinds = [kind for kind in kinds if suits(kind, y)]  # to all rows, not only to those chosen on
    some, few, cross_fits = np.arange(len(y)), training, CROSS_FITS
    if len(y) > _ROWS_TO_COMBINE:
        kinds = [kind for kind in kinds if kind != Aggregate.kind] or kinds
        if len(kinds) > 1:
            some = some_rows(len(y), _ROWS_TO_CHOOSE, training.seed)
            few, cross_fits = training.take(some), COMPARISONS
    trials = _trials(few, kinds, cross_fits)
    trials[Climatology.kind] = replace(climatology, quantiles=climatology.quantiles[some])
    losses = {
        kind: mean_pinball(few.y, trial.quantiles, levels, few.weights)
        for kind, trial in trials.items()
    }
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


def _trials(
    training: TrainingSet,
    kinds: Sequence[str],
    cross_fits: Mapping[str, Callable[[TrainingSet], CrossFit]],
) -> dict[str, CrossFit]:
    """Cross-fit each kind but climatology; the aggregate is of all others, and last."""
    single = [k for k in kinds if k not in (Climatology.kind, Aggregate.kind)]
    found = {kind: cross_fits[kind](training) for kind in single if suits(kind, training.y)}
    if Aggregate.kind in kinds:
        members = {Climatology.kind: cross_fit_climatology(training)} | found
        found[Aggregate.kind] = (
            aggregate_trials(training, members) if found else cross_fits[Aggregate.kind](training)
        )
    return found


def _every_second(folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join folds to two by turns: with many rows half of them is enough to fit on.

    By turns and not by halves: each model is then asked about times among its own, as with more
    folds, and not about a time before or after all of them.
    """
    return np.unique(folds, return_inverse=True)[1] % 2
