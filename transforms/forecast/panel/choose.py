"""The kind of forecaster that serves the rows of a panel best, out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transforms.forecast.empirical import Climatology, mean_pinball
from transforms.forecast.features import Features
from transforms.forecast.fitted import Fitted
from transforms.forecast.kinds import CROSS_FITS, suits
from transforms.forecast.select import FEWEST_ROWS
from transforms.forecast.training import TrainingSet


def choose_kind(
    training: TrainingSet, features: Features, kinds: Sequence[str], target: str
) -> Fitted:
    """Fit some kinds and keep the one with the lowest out-of-fold pinball loss.

    On all rows: what models gain over the centre of a forecast is a few per cent, which a part of
    the rows cannot show (`select.fit_forecaster`, for tables of any size, chooses on a part).

    Parameters
    ----------
    training : in units of the series' scales
    features : how its columns are encoded
    kinds : names of `transforms.forecast.kinds`; alone where there is one

    Returns
    -------
    Fitted
        With the out-of-fold quantiles of every row. Climatology when there are fewer than
        `select.FEWEST_ROWS` rows, or all outcomes are one.
    """
    if len(np.unique(training.folds)) < 2:
        training = replace(training, folds=np.arange(len(training.y)) * 2 // len(training.y))
    if len(training.y) < FEWEST_ROWS or np.ptp(training.y) == 0:
        kinds = (Climatology.kind,)
    tried = {kind: CROSS_FITS[kind](training) for kind in kinds if suits(kind, training.y)}
    losses = {
        kind: mean_pinball(training.y, trial.quantiles, training.levels)
        for kind, trial in tried.items()
    }
    best = tried[min(losses, key=losses.__getitem__)]
    return Fitted(
        target=target,
        levels=tuple(training.levels.tolist()),
        features=features,
        model=best.refit(),
        losses=losses,
        out_of_fold=best.quantiles,
    )
