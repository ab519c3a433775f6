"""The profiles of many blocks of rows, packed: what crosses the shuffle and lies in a baseline.

A Gram matrix is symmetric, so only its upper triangle is kept, and the blocks of one key share
three arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray
from monitors.gram import Profile


@dataclass(frozen=True, slots=True)
class Blocks:
    """Block profiles in the order of their numbers; those of different rows add."""

    numbers: NDArray[np.int64]  #: shape (R,), increasing
    triangles: FloatArray  #: shape (R, (p + 1)(p + 2) / 2), upper triangles of Gram matrices
    counts: NDArray[np.int64]  #: shape (R, features, 2)
    histograms: FloatArray  #: shape (R, features, WIDTH), no features where nothing asks for them

    def __add__(self, other: Blocks) -> Blocks:
        """Merge, adding up the profiles of equal numbers."""
        numbers = np.union1d(self.numbers, other.numbers)
        triangles = np.zeros((len(numbers), self.triangles.shape[1]))
        counts = np.zeros((len(numbers), *self.counts.shape[1:]), dtype=np.int64)
        histograms = np.zeros((len(numbers), *self.histograms.shape[1:]))
        for part in (self, other):
            place = np.searchsorted(numbers, part.numbers)
            triangles[place] += part.triangles
            counts[place] += part.counts
            histograms[place] += part.histograms
        return Blocks(numbers, triangles, counts, histograms)

    @property
    def grams(self) -> FloatArray:
        """The Gram matrices, shape (R, p + 1, p + 1)."""
        return full(self.triangles)


def pack(profiles: Mapping[int, Profile]) -> Blocks:
    """Pack block profiles, by block number."""
    numbers = np.array(sorted(profiles), dtype=np.int64)
    grams = np.stack([profiles[int(number)].gram for number in numbers])
    counts = np.stack([profiles[int(number)].counts for number in numbers])
    histograms = np.stack([profiles[int(number)].histograms for number in numbers])
    return Blocks(numbers, upper(grams), counts, histograms)


def upper(grams: FloatArray) -> FloatArray:
    """Return the upper triangles of Gram matrices, shape (R, (p + 1)(p + 2) / 2)."""
    rows, columns = np.triu_indices(grams.shape[-1])
    triangles: FloatArray = grams[:, rows, columns]
    return triangles


def full(triangles: FloatArray) -> FloatArray:
    """Return the Gram matrices of upper triangles, shape (R, p + 1, p + 1)."""
    side = (math.isqrt(8 * triangles.shape[1] + 1) - 1) // 2
    rows, columns = np.triu_indices(side)
    grams = np.empty((len(triangles), side, side))
    grams[:, rows, columns] = triangles
    grams[:, columns, rows] = triangles
    return grams
