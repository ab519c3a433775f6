"""A sum of oblivious trees: what it is once it is grown, and how rows are read.

All nodes of one level of an oblivious tree ask the same question (Kohavi and Li, IJCAI 1995;
Prokhorenkova et al., CatBoost, NeurIPS 2018), so the leaf of a row is the number whose binary
digits are the answers, and a tree of 64 leaves takes six comparisons of whole columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.packed import pack, unpack

Floats = NDArray[np.float64]

NOBODY = float(np.finfo(np.float64).max)  #: the threshold of a question that a tree did not find
_ROWS_AT_ONCE = 8192  # columns of so many rows stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Trees:
    """Trees of one depth; one with fewer splits begins with some that no row passes."""

    features: NDArray[np.int64]  #: shape (trees, depth): what each level asks about, root first
    thresholds: Floats  #: shape (trees, depth): rows above go right
    values: Floats  #: shape (trees, 2^depth)
    rows: Floats  #: shape (trees, 2^depth): how many rows, by weight, each leaf was grown on

    def between(self, start: int, stop: int) -> Trees:
        """Return some of the trees, in the order in which they were grown."""
        return Trees(*(part[start:stop] for part in self._parts()))

    def each(self) -> Iterator[tuple[list[int], Floats, Floats, Floats]]:
        """Yield of each tree the features, thresholds, values and rows."""
        return zip(self.features.tolist(), *self._parts()[1:], strict=True)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        names = ("features", "thresholds", "values", "rows")
        return {n: pack(part) for n, part in zip(names, self._parts(), strict=True)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Trees:
        """Return what `to_dict` wrote."""
        return cls(*(unpack(state[name]) for name in ("features", "thresholds", "values", "rows")))

    def _parts(self) -> tuple[NDArray[Any], ...]:
        return self.features, self.thresholds, self.values, self.rows


def sums(ensembles: Sequence[Trees], X: Floats) -> Floats:
    """Sum the values of each row's leaves, of several ensembles at once.

    Answers are kept while a block of rows is read: trees ask the same questions again and again.

    Parameters
    ----------
    X : float64 array, shape (n, features); NaN, which no comparison passes, goes left

    Returns
    -------
    float64 array, shape (ensembles, n)
    """
    found = np.zeros((len(ensembles), len(X)))
    plans = [_plan(trees) for trees in ensembles]
    for start in range(0, len(X), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        columns = np.ascontiguousarray(X[block].T)
        answers: dict[tuple[int, float], NDArray[np.uint8]] = {}
        leaf = np.empty(columns.shape[1], np.uint8)
        for place, plan in enumerate(plans):
            for questions, values in plan:
                leaf[:] = 0
                for question in questions:
                    answer = answers.get(question)
                    if answer is None:
                        feature, threshold = question
                        answer = (columns[feature] > threshold).view(np.uint8)
                        answers[question] = answer
                    leaf <<= 1
                    leaf |= answer
                found[place, block] += values[leaf]
    return found


def _plan(trees: Trees) -> list[tuple[list[tuple[int, float]], Floats]]:
    asked = zip(trees.features.tolist(), trees.thresholds.tolist(), strict=True)
    return [
        (list(zip(features, thresholds, strict=True)), values)
        for (features, thresholds), values in zip(asked, trees.values, strict=True)
    ]
