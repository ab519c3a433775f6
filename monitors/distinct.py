"""How many different event times some rows have: a mergeable estimate of fixed size.

Keeps the k smallest hashes (Bar-Yossef et al., RANDOM 2002, algorithm 1): exact up to k different
times, then with a relative standard error of 1/√k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.sample import mixed

KEPT = 4096  # an error of 1.6 %: one row in ten counted twice stands out by six of them


@dataclass(frozen=True, slots=True)
class DistinctTimes:
    """The smallest hashes of the times seen."""

    hashes: NDArray[np.uint64]  #: increasing, at most KEPT

    def __add__(self, other: DistinctTimes) -> DistinctTimes:
        """Merge two estimates."""
        return DistinctTimes(np.union1d(self.hashes, other.hashes)[:KEPT])

    @property
    def count(self) -> float:
        """The number of different times."""
        if len(self.hashes) < KEPT:
            return float(len(self.hashes))
        return (KEPT - 1) / (float(self.hashes[-1]) / 2.0**64)


NO_TIMES = DistinctTimes(np.empty(0, dtype=np.uint64))


def distinct_times(times: pa.ChunkedArray) -> DistinctTimes:
    """Estimate the number of different times of a column of timestamps, without nulls."""
    words = times.cast(pa.int64()).to_numpy().astype(np.uint64)
    return DistinctTimes(np.unique(mixed(words))[:KEPT])
