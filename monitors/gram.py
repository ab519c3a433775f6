"""The mergeable profile of a set of rows: one Gram matrix and a few counts.

Profiles add: profiling shards and adding them equals profiling the whole, in any order and on any
machine.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.encoder import Encoder, FloatArray
from monitors.marginals.histograms import NO_HISTOGRAMS, Bins, histogram, histograms

CHUNK = 16_384  # rows encoded at a time: few enough for the cache, enough to pay a call per column


@dataclass(frozen=True, slots=True)
class Profile:
    """Sums over a set of rows."""

    gram: FloatArray  #: shape (p + 1, p + 1), of [1, φ(x)]; its first entry is the number of rows
    counts: NDArray[np.int64]  #: shape (features, 2): missing values, values new to the reference
    #: shape (features, WIDTH), where marginals are watched
    histograms: FloatArray = field(default_factory=lambda: NO_HISTOGRAMS)

    @property
    def rows(self) -> int:
        """Number of rows profiled."""
        return round(float(self.gram[0, 0]))

    def __add__(self, other: Profile) -> Profile:
        """Merge two profiles."""
        return Profile(
            self.gram + other.gram,
            self.counts + other.counts,
            self.histograms + other.histograms,
        )


def profile(encoder: Encoder, table: pa.Table, bins: Bins | None = None) -> Profile:
    """Profile a table of typed rows, with histograms where there are bins."""
    parts = (_sums(phi, flags) for _, phi, flags in _chunks(encoder, table))
    whole = functools.reduce(operator.add, parts)
    if bins is None:
        return whole
    return replace(whole, histograms=histogram(bins, table))


def profile_blocks(
    encoder: Encoder, table: pa.Table, block: NDArray[np.int64], bins: Bins | None = None
) -> dict[int, Profile]:
    """Profile each block of a table.

    Parameters
    ----------
    block : int64 array, shape (rows,)
        The block of each row.
    bins : of histograms; None: without.
    """
    if np.any(block[1:] < block[:-1]):
        order = np.argsort(block, kind="stable")
        table, block = table.take(order), block[order]
    profiles: dict[int, Profile] = {}
    for start, phi, flags in _chunks(encoder, table):
        own = block[start : start + len(phi)]
        starts = np.flatnonzero(np.diff(own, prepend=own[:1] - 1))
        for low, high in itertools.pairwise([*starts, len(own)]):
            number, part = int(own[low]), _sums(phi[low:high], flags[low:high])
            profiles[number] = profiles[number] + part if number in profiles else part
    if bins is None:
        return profiles
    numbers, group = np.unique(block, return_inverse=True)
    found = histograms(bins, table, group, len(numbers))
    return {
        number: replace(profiles[number], histograms=own)
        for number, own in zip(numbers.tolist(), found, strict=True)
    }


def _chunks(
    encoder: Encoder, table: pa.Table
) -> Iterator[tuple[int, FloatArray, NDArray[np.bool_]]]:
    """Yield the first row, the basis columns and the flags of at least one piece of a table."""
    for start in range(0, max(1, table.num_rows), CHUNK):
        yield start, *encoder.encode(table.slice(start, CHUNK))


def _sums(phi: FloatArray, flags: NDArray[np.bool_]) -> Profile:
    return Profile(gram_matrix(phi), np.count_nonzero(flags, axis=0))


def gram_matrix(phi: FloatArray) -> FloatArray:
    """Return the Gram matrix of [1, φ], shape (p + 1, p + 1)."""
    p = phi.shape[1]
    gram = np.empty((p + 1, p + 1))
    gram[0, 0] = len(phi)
    gram[0, 1:] = gram[1:, 0] = phi.sum(axis=0)
    gram[1:, 1:] = phi.T @ phi
    return gram


def moments(gram: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rows, means and covariances of one Gram matrix or of a stack of them.

    Parameters
    ----------
    gram : FloatArray, shape (..., p + 1, p + 1)

    Returns
    -------
    rows, means, covariances : shapes (...), (..., p), (..., p, p)
    """
    rows = gram[..., 0, 0]
    means = gram[..., 0, 1:] / rows[..., None]
    second = gram[..., 1:, 1:] / rows[..., None, None]
    return rows, means, second - means[..., :, None] * means[..., None, :]
