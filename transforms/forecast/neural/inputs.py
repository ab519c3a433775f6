"""A forecaster's matrix as a network reads it: centred, in like units, without gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FURTHEST = 5.0  # units from the mean; beyond, a network answers what it has never seen
_FEWEST = 10  # rows of a category that has a column of its own
_MOST_CATEGORIES = 32  # columns of one feature


@dataclass(frozen=True, slots=True)
class Inputs:
    """How columns become inputs: numbers, indicators of gaps, indicators of categories."""

    numbers: tuple[tuple[int, float, float], ...]  #: column, mean and unit
    gaps: tuple[int, ...]  #: columns with missing values at the fit
    categories: tuple[tuple[int, int], ...]  #: column and code

    @property
    def width(self) -> int:
        """Return the number of inputs."""
        return len(self.numbers) + len(self.gaps) + len(self.categories)

    def matrix(self, X: Floats) -> NDArray[np.float32]:
        """Return the inputs, shape (n, width). A missing number is its mean; other codes are 0."""
        found = np.zeros((len(X), self.width), np.float32)
        for place, (column, mean, unit) in enumerate(self.numbers):
            scaled = np.clip((X[:, column] - mean) / unit, -_FURTHEST, _FURTHEST)
            found[:, place] = np.nan_to_num(scaled, nan=0.0)
        for place, column in enumerate(self.gaps, len(self.numbers)):
            found[:, place] = np.isnan(X[:, column])
        for place, (column, code) in enumerate(self.categories, len(self.numbers) + len(self.gaps)):
            found[:, place] = X[:, column] == code
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "numbers": [list(own) for own in self.numbers],
            "gaps": list(self.gaps),
            "categories": [list(own) for own in self.categories],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Inputs:
        """Return what `to_dict` wrote."""
        return cls(
            numbers=tuple((column, mean, unit) for column, mean, unit in state["numbers"]),
            gaps=tuple(state["gaps"]),
            categories=tuple((column, code) for column, code in state["categories"]),
        )


def learn_inputs(X: Floats, columns: Sequence[int], categories: Sequence[int]) -> Inputs:
    """Learn the inputs of some columns of a matrix; those that never vary are left out.

    The most frequent codes of a category get an input each, up to 32 that have 10 rows or more.
    """
    numbers, gaps, codes = [], [], []
    for column in columns:
        known = X[np.isfinite(X[:, column]), column]
        if len(known) == 0:
            continue
        if len(known) < len(X):
            gaps.append(column)
        if column in categories:
            values, counts = np.unique(known, return_counts=True)
            often = np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]
            codes += [(column, int(values[at])) for at in often if counts[at] >= _FEWEST]
        elif known.min() < known.max():
            numbers.append((column, float(known.mean()), float(known.std())))
    return Inputs(numbers=tuple(numbers), gaps=tuple(gaps), categories=tuple(codes))
