"""Growing oblivious trees: the questions are found on a sample of rows, the leaves on all.

The questions of a tree are chosen greedily for the second-order gain of boosting (Chen and
Guestrin, XGBoost, KDD 2016, eq. 7), summed over the nodes of a level. That is a histogram of
gradients over node, feature and bin: one `numpy.bincount`. Two things make it cheap. Bins are
coarse, and drawn anew with every sample of rows, so that the cut points of many trees together are
fine. And gradient and hessian are counted at once: rounded to whole numbers, as in quantised
training (Shi et al., NeurIPS 2022), they are the low and the high digits of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.forecast.oblivious.bins import UNKNOWN, Bins, Codes
from transforms.forecast.oblivious.trees import NOBODY, Trees

Floats = NDArray[np.float64]
Split = tuple[int, int]  #: a feature, and the highest code that goes left

_FEWEST = 10  # features that a tree may ask about, where there are so many
_COARSE = 64  # bins of a feature in one sample
# Sums over 2^14 rows: the low digits stay within ±2^26, the high ones below 2^24, both together
# below the 2^53 to which float64 counts exactly.
MOST_ROWS = 2**14  #: of a sample
_GRADIENT, _HESSIAN, _SHIFT = 2.0**12 - 1, 2.0**10 - 1, 2.0**27


class Sample:
    """Some of the rows, and coarse bins of their codes."""

    def __init__(self, codes: Codes, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        self.rows = rows
        self.codes = codes[:, rows]
        self.cuts: list[NDArray[np.int64]] = []  #: per feature: highest codes that may go left
        self._rng = rng
        self._bins = np.empty(self.codes.shape, np.int64)
        for feature, own in enumerate(self.codes):
            cuts = np.flatnonzero(np.bincount(own, minlength=UNKNOWN + 1))[:-1]
            if len(cuts) >= _COARSE:
                grid = (np.arange(_COARSE - 1) + rng.random()) * len(cuts) / (_COARSE - 1)
                cuts = cuts[grid.astype(np.int64)]
            coarse = np.searchsorted(cuts, np.arange(UNKNOWN + 1))
            self._bins[feature] = coarse[own]
            self.cuts.append(cuts)

    def splits(self, gradient: Floats, hessian: Floats, depth: int, penalty: float) -> list[Split]:
        """Choose the questions of a tree, at most `depth`; none where nothing can be gained.

        Parameters
        ----------
        gradient, hessian : float64 arrays, shape (rows,); the hessian positive
        penalty : float
            Added to the hessian of every node, in units of the mean hessian of a row.
        """
        largest = float(np.abs(gradient).max())
        if not largest > 0:
            return []
        scale = _HESSIAN / float(hessian.max())
        whole = np.rint(hessian * scale) * _SHIFT + np.rint(gradient * (_GRADIENT / largest))
        penalty = max(penalty * float(hessian.mean()) * scale, 1e-9)
        asked = self._draw_features()
        width = len(asked) * _COARSE
        bins = self._bins[asked] + np.arange(len(asked))[:, None] * _COARSE
        whole = np.broadcast_to(whole, bins.shape).ravel()
        node = np.zeros(len(gradient), np.int64)
        chosen: list[Split] = []
        for level in range(depth):
            nodes = 1 << level
            place = (bins + node * width).ravel()
            counted = np.bincount(place, whole, nodes * width).reshape(nodes, -1, _COARSE)
            best = _best(np.cumsum(counted, axis=2), penalty)
            if best is None:
                break
            feature = int(asked[best[0]])
            code = int(self.cuts[feature][best[1]])
            chosen.append((feature, code))
            node = 2 * node + (self.codes[feature] > code)
        return chosen

    def _draw_features(self) -> NDArray[np.int64]:
        """Return half of the features, anew for each tree: it costs half and errs more freely."""
        count = len(self.codes)
        kept = max(-(-count // 2), min(count, _FEWEST))
        return np.sort(self._rng.choice(count, kept, replace=False))


def _best(below: Floats, penalty: float) -> tuple[int, int] | None:
    """Return the feature and bin of the largest gain over all nodes; None where there is none.

    Parameters
    ----------
    below : float64 array, shape (nodes, features, bins)
        What is counted at or below each bin; the last holds the whole node.
    """
    hessian = np.floor(below / _SHIFT + 0.5)
    gradient = below - hessian * _SHIFT
    whole = _score(gradient[:, :1, -1:], hessian[:, :1, -1:], penalty)
    left = _score(gradient[..., :-1], hessian[..., :-1], penalty)
    right = _score(
        gradient[..., -1:] - gradient[..., :-1], hessian[..., -1:] - hessian[..., :-1], penalty
    )
    gain = (left + right - whole).sum(axis=0)
    place = int(gain.argmax())
    # a split that leaves every node whole has no gain but rounding
    if not gain.flat[place] > 1e-6 * float(whole.sum()):
        return None
    return place // gain.shape[1], place % gain.shape[1]


def _score(gradient: Floats, hessian: Floats, penalty: float) -> Floats:
    found: Floats = gradient * gradient / (hessian + penalty)
    return found


def leaf_of(codes: Codes, splits: list[Split]) -> NDArray[np.uint8]:
    """Return the leaf of each row, shape (n,)."""
    leaf = np.zeros(codes.shape[1], np.uint8)
    for feature, code in splits:
        leaf <<= 1
        leaf |= (codes[feature] > code).view(np.uint8)
    return leaf


@dataclass(slots=True)
class Ensemble:
    """Trees that are being grown."""

    splits: list[list[Split]]
    values: list[Floats]
    rows: list[Floats]

    def add(self, splits: list[Split], values: Floats, rows: Floats) -> None:
        """Append a tree."""
        self.splits.append(splits)
        self.values.append(values)
        self.rows.append(rows)

    def trees(self, bins: Bins, depth: int) -> Trees:
        """Return them with thresholds in the features' own units.

        Questions that were not found come first, and every row answers them with no.
        """
        count = len(self.splits)
        features = np.zeros((count, depth), np.int64)
        thresholds = np.full((count, depth), NOBODY)
        values, rows = (np.zeros((count, 1 << depth)) for _ in range(2))
        for tree, splits in enumerate(self.splits):
            for level, (feature, code) in enumerate(splits, start=depth - len(splits)):
                features[tree, level] = feature
                thresholds[tree, level] = bins.threshold(feature, code)
            values[tree, : 1 << len(splits)] = self.values[tree]
            rows[tree, : 1 << len(splits)] = self.rows[tree]
        return Trees(features, thresholds, values, rows)
