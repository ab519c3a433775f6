"""Features as small whole numbers: where each value lies among its column's cut points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]  #: shape (features, n): a feature's codes lie together

MISSING = 0  #: the code of a missing number; such rows go left at every split but this one
UNKNOWN = 255  #: of a missing or new category; such rows go right at every split
_CUTS = 253  #: of a number, at most: codes are 0 … 254
_ROWS_FOR_CUTS = 20_000


@dataclass(frozen=True, slots=True)
class Bins:
    """Cut points of each number, and which features are categories."""

    cuts: tuple[Floats, ...]  #: increasing; empty for a category
    categories: tuple[int, ...]  #: positions of the features that are categories

    def codes(self, X: Floats) -> Codes:
        """Code a matrix: numbers by 1 + the cut points below, categories as they are.

        Parameters
        ----------
        X : float64 array, shape (n, features); NaN: missing

        Returns
        -------
        uint8 array, shape (features, n)
        """
        codes = np.empty((X.shape[1], len(X)), np.uint8)
        for feature, cuts in enumerate(self.cuts):
            values, missing = X[:, feature], np.isnan(X[:, feature])
            if feature in self.categories:
                codes[feature] = np.where(missing, UNKNOWN, values).astype(np.uint8)
            else:
                codes[feature] = np.searchsorted(cuts, values) + 1
                codes[feature, missing] = MISSING
        return codes

    def threshold(self, feature: int, code: int) -> float:
        """Return the value above which a row goes right when codes above `code` do."""
        if feature in self.categories:
            return float(code)
        if code == MISSING:
            return float(np.finfo(np.float64).min)
        return float(self.cuts[feature][code - 1])


def learn_bins(X: Floats, categories: tuple[int, ...]) -> Bins:
    """Cut each number between its values, or at quantiles where they are too many.

    Of many rows some are looked at, evenly spread. The target is not looked at, so bins of all rows
    may serve fits on some of them.
    """
    some = X[:: -(-len(X) // _ROWS_FOR_CUTS)]
    cuts = []
    for feature in range(X.shape[1]):
        values = np.unique(some[:, feature])
        values = values[np.isfinite(values)]
        if feature in categories or len(values) < 2:
            cuts.append(np.empty(0))
        elif len(values) <= _CUTS + 1:
            cuts.append(_between(values[:-1], values[1:]))
        else:
            column = some[:, feature]
            inner = np.linspace(0.0, 1.0, _CUTS + 2)[1:-1]
            cuts.append(np.unique(np.quantile(column[np.isfinite(column)], inner)))
    return Bins(tuple(cuts), categories)


def _between(low: Floats, high: Floats) -> Floats:
    """Return midpoints that are at least `low` and less than `high`, whatever the rounding."""
    middle = low + (high - low) / 2
    return np.where(middle < high, middle, low)
