"""Seasonal naive: the value of last season, with the quantiles of its own errors step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StreamFileError
from transforms.forecast.empirical import sample_quantiles
from transforms.forecast.panel.past import HORIZON, LAST_SEASON
from transforms.forecast.training import CrossFit, TrainingSet

Floats = NDArray[np.float64]

_FEWEST_ERRORS = 200  # of one step ahead; with fewer, neighbouring steps share their quantiles


@dataclass(frozen=True, slots=True)
class SeasonalNaive:
    """Last season's value plus the quantiles of past errors at that many steps ahead."""

    kind: ClassVar[str] = "seasonal_naive"
    columns: tuple[int, int]  #: positions of last season's value and of the steps ahead
    steps: tuple[float, ...]  #: the last step that each row of errors serves, increasing
    errors: tuple[tuple[float, ...], ...]  #: quantiles of the errors, one row for each of `steps`

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels); around the centre where NaN."""
        last, ahead = (X[:, column] for column in self.columns)
        group = np.minimum(np.searchsorted(self.steps, ahead), len(self.steps) - 1)
        found: Floats = np.nan_to_num(last)[:, None] + np.array(self.errors)[group]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "columns": list(self.columns),
            "steps": list(self.steps),
            "errors": [list(row) for row in self.errors],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> SeasonalNaive:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        return cls(
            columns=(state["columns"][0], state["columns"][1]),
            steps=tuple(state["steps"]),
            errors=tuple(tuple(row) for row in state["errors"]),
        )


def cross_fit_seasonal_naive(training: TrainingSet) -> CrossFit:
    """Take the quantiles of the errors from the other folds (from its own where there is no other).

    The method that every forecast is to be compared with (Hyndman and Athanasopoulos, Forecasting:
    Principles and Practice, §5.2); its intervals are those of past errors, not of a normal law.

    Raises
    ------
    StreamFileError
        When the rows are not those of a series' own future.
    """
    names = training.names
    places = [
        next((j for j, name in enumerate(names) if name.endswith(f": {wanted}")), None)
        for wanted in (LAST_SEASON, HORIZON)
    ]
    last, ahead = places
    if last is None or ahead is None:
        raise StreamFileError(
            "`seasonal_naive` forecasts a series' own future: give the forecast `ahead:` with a "
            "horizon and a step, or take it off `models`"
        )
    found = np.empty((len(training.y), len(training.levels)))
    for fold in np.unique(training.folds):
        own = training.folds == fold
        others = ~own if not own.all() else own
        found[own] = _fit(training.take(others), (last, ahead)).quantiles(training.X[own])
    return CrossFit(quantiles=found, refit=lambda: _fit(training, (last, ahead)))


def _fit(training: TrainingSet, columns: tuple[int, int]) -> SeasonalNaive:
    errors = training.y - np.nan_to_num(training.X[:, columns[0]])
    ahead = training.X[:, columns[1]]
    last_steps: list[float] = []
    rows: list[tuple[float, ...]] = []
    chosen = np.zeros(len(ahead), bool)
    distinct = np.unique(ahead)
    for step in distinct:
        chosen |= ahead == step
        # what is left must be enough as well, or the last group takes it
        left = np.count_nonzero(ahead > step)
        enough = chosen.sum() >= _FEWEST_ERRORS and left >= _FEWEST_ERRORS
        if enough or step == distinct[-1]:
            weights = None if training.weights is None else training.weights[chosen]
            last_steps.append(float(step))
            rows.append(tuple(sample_quantiles(errors[chosen], training.levels, weights).tolist()))
            chosen = np.zeros(len(ahead), bool)
    return SeasonalNaive(columns=columns, steps=tuple(last_steps), errors=tuple(rows))
