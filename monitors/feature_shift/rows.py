"""The rows of two tables, as the conditional tests that need rows see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitors.encoder import FloatArray

#: From which blocks are the window's, shape (draws, R), to values, shape (draws, features).
Statistic: TypeAlias = Callable[[NDArray[np.bool_]], FloatArray]


@dataclass(frozen=True)
class Rows:
    """The rows of two tables, in blocks of one size."""

    phi: FloatArray  #: shape (n, p): basis columns of all rows, one per number
    block: NDArray[np.int64]  #: shape (n,): the block of each row
    in_window: NDArray[np.bool_]  #: shape (R,): whether a block is the window's
    groups: Sequence[NDArray[np.intp]]  #: basis columns of each feature
    numeric: Sequence[int]  #: the features that are numbers: those that are tested

    @property
    def tested(self) -> list[int]:
        """The basis column of each number."""
        return [int(self.groups[j][0]) for j in self.numeric]

    def without(self, removed: Sequence[int]) -> Rows:
        """Return the rows with the columns of some features taken out."""
        gone = [column for j in removed for column in self.groups[j]]
        kept = np.setdiff1d(np.arange(self.phi.shape[1]), gone)
        groups = [
            np.searchsorted(kept, group) if j not in removed else group[:0]
            for j, group in enumerate(self.groups)
        ]
        numeric = [j for j in self.numeric if j not in removed]
        return replace(self, phi=self.phi[:, kept], groups=groups, numeric=numeric)


@dataclass(frozen=True)
class Dealing:
    """A statistic of the numbers, and the blocks that are dealt anew to the two sides."""

    statistic: Statistic
    in_window: NDArray[np.bool_]  #: shape (R,): which of the blocks are the window's


def block_sums(values: FloatArray, block: NDArray[np.int64], count: int) -> FloatArray:
    """Return the sums of rows' values, shape (n, ...), over each block, shape (count, ...)."""
    sums = np.zeros((count, *values.shape[1:]))
    np.add.at(sums, block, values)
    return sums
