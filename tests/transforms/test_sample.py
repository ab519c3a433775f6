from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.sample import RowSample

_ROW = st.tuples(
    st.none() | st.floats(allow_nan=False),
    st.none() | st.text(max_size=3),
    st.none() | st.integers(-(2**63), 2**63 - 1),
)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Return rows as a table of three columns."""
    kinds = {"f": pa.float64(), "s": pa.string(), "i": pa.int64()}
    return pa.table(
        {n: pa.array([row[j] for row in rows], kind) for j, (n, kind) in enumerate(kinds.items())}
    )


def distinct(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what tells rows apart: 0.0 and -0.0 are equal."""
    return (None if row[0] is None else row[0] + 0.0, *row[1:])


_ROWS = st.lists(_ROW, unique_by=distinct, max_size=30)


@given(rows=_ROWS, capacity=st.integers(0, 12), data=st.data())
def test_any_split_and_order_of_the_same_rows_gives_the_same_sample(
    rows: list[tuple[Any, ...]], capacity: int, data: st.DataObject
) -> None:
    """The sample depends on the set of the rows and on nothing else."""
    once = RowSample.empty(capacity).add(table_of(rows))
    shuffled = data.draw(st.permutations(rows))
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, len(rows))))), len(rows)]
    pieces = RowSample.empty(capacity)
    for start, stop in pairwise(cuts):
        pieces = pieces.add(table_of(shuffled[start:stop]))
    assert pieces.table.equals(once.table)
    assert pieces.rows_seen == once.rows_seen == len(rows)
    assert once.table.num_rows == min(capacity, len(rows))


@given(groups=st.tuples(_ROWS, _ROWS, _ROWS), capacity=st.integers(1, 12))
def test_merging_is_associative_and_commutative(
    groups: tuple[list[tuple[Any, ...]], ...], capacity: int
) -> None:
    """Samples merge in any order and grouping, the empty one included."""
    a, b, c = (RowSample.empty(capacity).add(table_of(rows)) for rows in groups)
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    assert left == right
    assert a.merge(b) == b.merge(a)
    assert a.merge(RowSample.empty(capacity)) == a == RowSample.empty(capacity).merge(a)


def test_merging_shards_equals_sampling_the_whole(rng: np.random.Generator) -> None:
    """The sample of two halves is the sample of all."""
    table = pa.table({"x": rng.normal(size=5000), "c": rng.choice(["u", "v"], 5000)})
    whole = RowSample.empty(300).add(table)
    halves = [RowSample.empty(300).add(table.slice(at, 2500)) for at in (0, 2500)]
    assert halves[0].merge(halves[1]) == whole


def test_rows_are_kept_uniformly(rng: np.random.Generator) -> None:
    """Each of many rows has the same chance, whatever its place and its values."""
    rows, capacity, repeats = 400, 100, 400
    kept = np.zeros(rows)
    for repeat in range(repeats):
        table = pa.table({"place": np.arange(rows), "salt": [repeat] * rows})
        kept[RowSample.empty(capacity).add(table).table["place"].to_numpy()] += 1
    share = capacity / rows
    spread = math.sqrt(repeats * share * (1 - share))
    assert np.abs(kept - repeats * share).max() < 4.5 * spread
    halves = kept.reshape(2, -1).sum(axis=1)
    assert abs(halves[0] - halves[1]) < 4.5 * spread * math.sqrt(rows)


def test_equal_rows_are_kept_as_often_as_others(rng: np.random.Generator) -> None:
    """Rows that repeat keep their share of the sample: they are counted, not lumped together."""
    size, capacity = 20_000, 2_000
    values = np.where(np.arange(size) % 2 == 0, 7.0, rng.normal(size=size))
    sample = RowSample.empty(capacity).add(pa.table({"x": values})).table["x"].to_numpy()
    spread = math.sqrt(0.25 / capacity)
    assert abs((sample == 7.0).mean() - 0.5) < 4.5 * spread


def test_sample_is_a_part_of_the_rows(rng: np.random.Generator) -> None:
    """Rows come out whole and with their types."""
    moments = pa.array(np.arange(500)).cast(pa.timestamp("us", tz="UTC"))
    table = pa.table({"i": np.arange(500), "t": moments, "b": np.arange(500) % 2 == 0})
    sample = RowSample.empty(50).add(table).table
    assert sample.schema == table.schema
    assert sample.equals(table.take(sample["i"]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([None], pa.int64()), pa.array([0])),
        (pa.array([None], pa.string()), pa.array([""])),
        (pa.array([None], pa.bool_()), pa.array([False])),
        (pa.array([1.0]), pa.array([1.0000000000000002])),
    ],
)
def test_unlike_values_have_unlike_hashes(one: pa.Array, other: pa.Array) -> None:
    """A missing value is not zero, false or the empty text."""
    hashes = {
        RowSample.empty(1).add(pa.table({"x": values})).hashed["__hash"][0].as_py()
        for values in (one, other)
    }
    assert len(hashes) == 2


def test_equal_values_have_equal_hashes() -> None:
    """Zero has no sign, and a value is the same in any chunk."""
    zero, negative = (RowSample.empty(9).add(pa.table({"x": [0.0, x]})) for x in (0.0, -0.0))
    assert zero.hashed["__hash"].equals(negative.hashed["__hash"])
    texts = pa.chunked_array([["a", "b"], [], ["b", None, "c"]])
    chunked, whole = (
        RowSample.empty(9).add(pa.table({"x": column, "i": range(5)}))
        for column in (texts, texts.combine_chunks())
    )
    assert chunked == whole


def test_hashes_do_not_change_between_versions() -> None:
    """Samples kept in a baseline stay comparable: the hash of a row is fixed for good."""
    table = pa.table({"f": [1.5, None], "s": ["é", None], "b": [True, None]})
    assert sorted(RowSample.empty(2).add(table).hashed["__hash"].to_pylist()) == [
        8570539553982340749,
        18018999615044701068,
    ]


def test_unequal_capacities_do_not_merge() -> None:
    """Samples of different sizes have no common cutoff."""
    with pytest.raises(ValueError, match="do not merge"):
        RowSample.empty(1).merge(RowSample.empty(2))
