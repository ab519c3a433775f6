"""A bounded sample of rows that depends on the rows alone: the k rows with the smallest hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_HASH = "__hash"
_NULL = 0x9E3779B97F4A7C15  # the word of a missing value


@dataclass(frozen=True, slots=True)
class RowSample:
    """A uniform sample without replacement of the rows seen: bottom-k by a hash of the row.

    Every row has the same chance to be kept. Which ones are kept depends neither on their order
    nor on how they were split into batches, for the hash is one of the row's content. Equal rows
    within a batch are told apart by their count within it; equal rows of different batches share
    their hashes, so that they are kept or left together.

    The hash is our own, for those of Polars and Arrow may change with their versions: words mixed
    by the finaliser of SplitMix64 (Steele, Lea, Flood: OOPSLA 2014), texts by BLAKE2b. It does
    not guard against rows made up in order to be sampled.
    """

    capacity: int
    rows_seen: int = 0
    hashed: pa.Table = field(default_factory=lambda: pa.table({_HASH: pa.array([], pa.uint64())}))

    @classmethod
    def empty(cls, capacity: int) -> RowSample:
        """Return the sample of no rows, which will keep at most so many."""
        return cls(capacity)

    @property
    def table(self) -> pa.Table:
        """The rows kept, in order of their hashes."""
        return self.hashed.drop_columns([_HASH])

    def add(self, table: pa.Table) -> RowSample:
        """Return the sample with the rows of a table, of the same schema as those before."""
        seen = self.rows_seen + table.num_rows
        hashes = _row_hashes(table)
        if self.hashed.num_rows == self.capacity > 0:
            low = np.flatnonzero(hashes < self.hashed[_HASH][-1].as_py())
            table, hashes = table.take(pa.array(low)), hashes[low]
        more = table.append_column(_HASH, pa.array(hashes))
        return RowSample(self.capacity, seen, _lowest([self.hashed, more], self.capacity))

    def merge(self, other: RowSample) -> RowSample:
        """Return the sample of the rows that either has seen; capacities are equal."""
        if self.capacity != other.capacity:
            message = f"samples of {self.capacity} and of {other.capacity} rows do not merge"
            raise ValueError(message)
        both = _lowest([self.hashed, other.hashed], self.capacity)
        return RowSample(self.capacity, self.rows_seen + other.rows_seen, both)


def _lowest(parts: list[pa.Table], capacity: int) -> pa.Table:
    """Return the rows with the lowest hashes, in order of these."""
    filled = [part for part in parts if part.num_rows]
    if not filled:
        return max(parts, key=lambda part: part.num_columns)  # the one that has a schema
    if len(filled) == 1 and filled[0] is parts[0]:
        return filled[0]
    table = pa.concat_tables(filled)
    order = np.argsort(table[_HASH].to_numpy(), kind="stable")[:capacity]
    return table.take(pa.array(order)).combine_chunks()


def row_words(table: pa.Table) -> Words:
    """Return one word per row, of its content alone: uint64, shape (rows,)."""
    words = np.zeros(table.num_rows, dtype=np.uint64)
    for name in table.column_names:
        salt = np.uint64(_text_word(name))
        words ^= mixed(_column_words(table[name]) + salt)
    return mixed(words)


def _row_hashes(table: pa.Table) -> Words:
    """Return one word per row: its content's, and its count among the equal rows before it."""
    words = row_words(table)
    ordered = np.sort(words)
    if np.all(ordered[1:] != ordered[:-1]):
        return words
    order = np.argsort(words, kind="stable")
    ordered = words[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    index = np.arange(len(words))
    count = index - np.maximum.accumulate(np.where(starts, index, 0))
    words[order] = np.where(count == 0, ordered, mixed(ordered + count.astype(np.uint64)))
    return words


def _column_words(values: pa.ChunkedArray) -> Words:
    """Return one word per value, equal for equal values whatever the chunks are."""
    kind = values.type
    if pa.types.is_floating(kind):
        floats = pc.fill_null(values, 0.0).cast(pa.float64()).to_numpy() + 0.0  # -0.0 is 0.0
        words = np.where(np.isnan(floats), np.nan, floats).view(np.uint64)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        words = pc.fill_null(values.cast(pa.int64(), safe=False), 0).to_numpy().view(np.uint64)
    else:
        encoded = values.cast(pa.string()).dictionary_encode().unify_dictionaries()
        texts = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
        codes = pa.chunked_array([c.indices for c in encoded.chunks], pa.int32())
        known = np.array([*map(_text_word, texts), 0], dtype=np.uint64)
        words = known[pc.fill_null(codes, len(texts)).to_numpy()]
    if values.null_count:
        words = np.where(values.is_null().to_numpy(), np.uint64(_NULL), words)
    return words


def _text_word(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mixed(words: Words) -> Words:
    """Return words of which every bit depends on every bit given (a bijection)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
