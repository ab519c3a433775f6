"""What every kind of forecaster is fitted on, and what it is once it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Rows that a forecaster is fitted on, in order of time where they have one."""

    X: Floats  #: features, shape (n, features); codes of categories; NaN where missing
    y: Floats  #: target, shape (n,), finite
    folds: NDArray[np.int64]  #: shape (n,)
    levels: Floats  #: of the quantiles, increasing in (0, 1), shape (k,)
    names: tuple[str, ...] = ()  #: of the features; a kind that reads columns by name needs them
    categories: tuple[int, ...] = ()  #: positions of the features that are categories
    seed: int = 0
    #: how much each row counts, in units of a row, shape (n,), all positive; None: each counts 1
    weights: Floats | None = None

    def take(self, rows: NDArray[Any]) -> TrainingSet:
        """Return some of the rows: positions, or a mask."""
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            folds=self.folds[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


class QuantileModel(Protocol):
    """What each kind of forecaster is once it is fitted."""

    @property
    def kind(self) -> str:
        """A name of `transforms.forecast.kinds`."""

    @property
    def boosters(self) -> tuple[str, ...]:
        """The LightGBM models as text, where there are any."""

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels), non-decreasing along levels."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the boosters as JSON values."""


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Quantiles of every row from models that did not see its fold, and how to fit on all rows."""

    quantiles: Floats  #: shape (n, levels)
    refit: Callable[[], QuantileModel]


def some_rows(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return the positions of at most `most` rows: one at random of each of as many stretches.

    Not every k-th: where k is the length of a season, or the number of series that take turns,
    those would be rows of one phase or of one series.
    """
    if count <= most:
        return np.arange(count)
    ends = np.arange(most + 1) * count // most
    return np.random.default_rng(seed).integers(ends[:-1], ends[1:])
