"""Which basis columns a test reads, and which feature each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Basis:
    """A choice of basis columns."""

    columns: NDArray[np.intp]  #: increasing
    groups: tuple[NDArray[np.intp], ...]  #: of each feature: where in `columns` its own are

    def of(self, gram: _Floats) -> _Floats:
        """Return the Gram matrices of [1, these columns] out of those of all, or of a stack."""
        if len(self.columns) == gram.shape[-1] - 1:
            return gram
        index = np.concatenate([[0], self.columns + 1])
        return gram[..., index[:, None], index[None, :]]

    def without(self, removed: Sequence[int]) -> Basis:
        """Return the basis without the columns of some features.

        A removed feature keeps its place with an empty group.
        """
        gone = np.concatenate([np.array([], dtype=np.intp), *(self.groups[j] for j in removed)])
        return self.keep(np.setdiff1d(np.arange(len(self.columns)), gone))

    def keep(self, kept: NDArray[np.intp]) -> Basis:
        """Return the basis of the columns at some of its places, in increasing order."""
        place = np.full(len(self.columns), -1, dtype=np.intp)
        place[kept] = np.arange(len(kept))
        groups = (place[group] for group in self.groups)
        return Basis(self.columns[kept], tuple(group[group >= 0] for group in groups))
