"""The mergeable profile of a set of rows: one Gram matrix and a few counts.

Profiles add: profiling shards and adding them equals profiling the whole, in any order and on any
machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitors.encoder import Encoder, FloatArray


@dataclass(frozen=True, slots=True)
class Profile:
    """Sums over a set of rows."""

    gram: FloatArray  #: shape (p + 1, p + 1), of [1, φ(x)]; its first entry is the number of rows
    counts: NDArray[np.int64]  #: shape (features, 2): missing values, values new to the reference

    @property
    def rows(self) -> int:
        """Number of rows profiled."""
        return round(float(self.gram[0, 0]))

    def __add__(self, other: Profile) -> Profile:
        """Merge two profiles."""
        return Profile(self.gram + other.gram, self.counts + other.counts)


def profile(encoder: Encoder, table: pa.Table) -> Profile:
    """Profile a table of typed rows."""
    phi, flags = encoder.encode(table)
    return Profile(gram_matrix(phi), flags.sum(axis=0, dtype=np.int64))


def profile_blocks(
    encoder: Encoder, table: pa.Table, block: NDArray[np.int64]
) -> dict[int, Profile]:
    """Profile each block of a table.

    Parameters
    ----------
    block : int64 array, shape (rows,)
        The block of each row; rows keep their order within it.
    """
    phi, flags = encoder.encode(table)
    order = np.argsort(block, kind="stable")
    labels, starts = np.unique(block[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {
        int(label): Profile(gram_matrix(phi[rows]), flags[rows].sum(axis=0, dtype=np.int64))
        for label, rows in zip(labels, parts, strict=True)
    }


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
