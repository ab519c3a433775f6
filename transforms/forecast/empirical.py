"""Climatology: the quantiles of the target itself, whatever the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class QuantileModel(Protocol):
    """What each kind of forecaster is once it is fitted."""

    kind: ClassVar[str]

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


@dataclass(frozen=True, slots=True)
class Climatology:
    """The same quantiles for every row."""

    kind: ClassVar[str] = "climatology"
    values: tuple[float, ...]

    @property
    def boosters(self) -> tuple[str, ...]:
        """Return nothing: there is no booster."""
        return ()

    def quantiles(self, X: Floats) -> Floats:
        """Return the quantiles of each row, shape (n, levels)."""
        return np.tile(np.array(self.values), (len(X), 1))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"values": list(self.values)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], boosters: tuple[str, ...]) -> Climatology:  # noqa: ARG003
        """Return what `to_dict` wrote."""
        return cls(values=tuple(state["values"]))


def sample_quantiles(values: Floats, levels: Floats) -> Floats:
    """Quantiles at rank (n + 1) p, so that the next exchangeable value is below with chance p.

    Hyndman and Fan's type 6 (The American Statistician 1996); beyond the extremes, the extremes.
    """
    found: Floats = np.quantile(values, levels, method="weibull")
    return np.maximum.accumulate(found)  # rounding of the interpolation must not cross levels


def fit_climatology(y: Floats, levels: Floats) -> Climatology:
    """Fit on all rows."""
    return Climatology(values=tuple(sample_quantiles(y, levels).tolist()))


def cross_fit_climatology(y: Floats, folds: NDArray[np.int64], levels: Floats) -> CrossFit:
    """Forecast each fold from the rows of the others (from its own, where there are no others)."""
    quantiles = np.empty((len(y), len(levels)))
    for fold in np.unique(folds):
        others = y[folds != fold]
        quantiles[folds == fold] = sample_quantiles(others if len(others) else y, levels)
    return CrossFit(quantiles=quantiles, refit=lambda: fit_climatology(y, levels))
