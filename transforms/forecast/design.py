"""Features as the columns of a regression: standardised, without gaps, categories as indicators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FARTHEST = 5.0  # units from the centre: an outlier counts as a far value, not as an endless one
_ROWS_OF_A_COLUMN = 20  # a category or a gap that is rarer has no column of its own
_MOST_INDICATORS = 20  # columns of one category feature


@dataclass(frozen=True, slots=True)
class Design:
    """How features become columns; learnt from the reference."""

    numbers: tuple[int, ...]  #: positions of the features that are numbers and vary
    centre: tuple[float, ...]  #: of each of them: its median
    unit: tuple[float, ...]  #: of each of them: see `_standard`
    gaps: tuple[int, ...]  #: positions of the numbers whose gaps have an indicator
    codes: tuple[tuple[int, float], ...]  #: position and code of each category's indicator

    def matrix(self, X: Floats) -> Floats:
        """Return the columns: numbers (a gap is the centre), indicators of gaps, of categories.

        Parameters
        ----------
        X : float64 array, shape (n, features), NaN where missing.

        Returns
        -------
        float64 array, shape (n, columns), finite, between −5 and 5.
        """
        with np.errstate(over="ignore"):  # what is too far to be told is far
            numbers = (X[:, list(self.numbers)] - np.array(self.centre)) / np.array(self.unit)
        numbers = np.where(np.isnan(numbers), 0.0, np.clip(numbers, -_FARTHEST, _FARTHEST))
        gaps = np.isnan(X[:, list(self.gaps)]).astype(np.float64)
        positions = [position for position, _ in self.codes]
        codes = X[:, positions] == np.array([code for _, code in self.codes])
        return np.hstack([numbers, gaps, codes.astype(np.float64)])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "numbers": list(self.numbers),
            "centre": list(self.centre),
            "unit": list(self.unit),
            "gaps": list(self.gaps),
            "codes": [list(code) for code in self.codes],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Design:
        """Return what `to_dict` wrote."""
        return cls(
            numbers=tuple(state["numbers"]),
            centre=tuple(state["centre"]),
            unit=tuple(state["unit"]),
            gaps=tuple(state["gaps"]),
            codes=tuple((int(position), float(code)) for position, code in state["codes"]),
        )


def learn_design(X: Floats, categories: Sequence[int]) -> Design:
    """Learn the columns from the rows of a fit; features that never vary get none.

    Parameters
    ----------
    X : float64 array, shape (n, features), NaN where missing.
    categories : positions of the features that are categories, their values codes.
    """
    numbers, centres, units, gaps, codes = [], [], [], [], []
    for position in range(X.shape[1]):
        column = X[:, position]
        known = column[~np.isnan(column)]
        finite = known[np.isfinite(known)]
        if position in categories:
            values, counts = np.unique(known, return_counts=True)
            frequent = np.argsort(-counts, kind="stable")[:_MOST_INDICATORS]
            codes += [
                (position, float(values[place]))
                for place in frequent
                if _ROWS_OF_A_COLUMN <= counts[place] < len(X)
            ]
            continue
        if _ROWS_OF_A_COLUMN <= len(X) - len(known) < len(X):
            gaps.append(position)
        if len(finite) and finite.min() < finite.max():
            centre, unit = _standard(finite)
            if 0 < unit < np.inf:  # not of values that float64 cannot take a difference of
                numbers.append(position)
                centres.append(centre)
                units.append(unit)
    return Design(tuple(numbers), tuple(centres), tuple(units), tuple(gaps), tuple(codes))


def _standard(values: Floats) -> tuple[float, float]:
    """Return the median, and the interquartile range over 1.349 as the unit.

    Where that is 0, as of a number that is mostly 0: the deviation, with outliers as far out as
    `matrix` leaves them, in units of the median distance of those that differ from the centre.
    """
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore", invalid="ignore"):
        unit = float(high - low) / 1.349
        if unit == 0:
            away = values - centre
            farthest = _FARTHEST * np.median(np.abs(away[away != 0]))
            unit = float(np.clip(away, -farthest, farthest).std())
    return float(centre), unit
