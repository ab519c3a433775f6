from __future__ import annotations

import functools
import math
import operator
import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import kept_rows
from monitors.kept_rows import (
    HELD,
    NO_ROWS,
    KeptRows,
    keep_rows,
    kept_columns,
    places_of,
    rows_of_a_window,
    typical_step,
)
from schemas.explain import FEWEST, MOST
from schemas.stream import Stream
from transforms.contract import ROW

_ROW = st.tuples(
    st.integers(-40, 40),
    st.none() | st.floats(allow_nan=False).map(lambda value: value + 0.0),  # no -0.0
    st.none() | st.text(max_size=2),
    st.none() | st.booleans(),
)
_ROWS = st.lists(_ROW, min_size=1, max_size=30)


def kept(rows: Sequence[tuple[object, ...]], capacity: int, run: int) -> KeptRows:
    """Return what is kept of rows: their places, and three more columns."""
    kinds = {"t": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_()}
    table = pa.table(
        {n: pa.array([row[j] for row in rows], kind) for j, (n, kind) in enumerate(kinds.items())}
    )
    return keep_rows(table, table["t"].to_numpy(), [len(rows)], capacity, run)[0]


def every(places: Sequence[int], capacity: int, run: int) -> KeptRows:
    """Return what is kept of rows that have places and nothing else."""
    return kept([(place, None, None, None) for place in places], capacity, run)


@given(rows=_ROWS, capacity=st.integers(1, 12), run=st.integers(0, 9), data=st.data())
def test_any_split_and_order_of_the_same_rows_keeps_the_same(
    rows: list[tuple[object, ...]], capacity: int, run: int, data: st.DataObject
) -> None:
    """What is kept depends on the rows and on nothing else, also where they share their times."""
    once = kept(rows, capacity, run)
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted({0, *data.draw(st.sets(st.integers(1, len(rows)))), len(rows)})
    pieces = [kept(shuffled[start:stop], capacity, run) for start, stop in pairwise(cuts)]
    merged = functools.reduce(operator.add, data.draw(st.permutations(pieces)))
    assert merged.table.equals(once.table)
    np.testing.assert_array_equal(merged.places, once.places)
    assert once.table.num_rows == min(capacity, len(rows))


@given(groups=st.tuples(_ROWS, _ROWS, _ROWS), run=st.integers(0, 9))
def test_merging_is_associative_and_commutative(
    groups: tuple[list[tuple[object, ...]], ...], run: int
) -> None:
    """Also where the parts were kept with different bounds: the least one counts."""
    a, b, c = (kept(rows, size, run) for rows, size in zip(groups, (9, 7, 8), strict=True))
    left, right = (a + b) + c, a + (b + c)
    assert left.table.equals(right.table)
    assert (a + b).table.equals((b + a).table)
    assert left.capacity == 7
    assert left.table.equals(kept([*groups[0], *groups[1], *groups[2]], 7, run).table)


def test_groups_are_kept_each_by_itself(rng: np.random.Generator) -> None:
    """Of a table with the rows of several groups, as of each of them alone."""
    sizes = [300, 1, 2000, 64]
    places = np.concatenate([rng.permutation(size) for size in sizes])
    table = pa.table({"t": places, "x": rng.normal(size=len(places))})
    found = keep_rows(table, places, sizes, 100, 16)
    for stop, size, own in zip(np.cumsum(sizes), sizes, found, strict=True):
        alone = slice(stop - size, stop)
        (expected,) = keep_rows(table.slice(stop - size, size), places[alone], [size], 100, 16)
        assert own.table.equals(expected.table)
        np.testing.assert_array_equal(own.places, expected.places)
        assert own.table["t"].to_pylist() == sorted(own.table["t"].to_pylist())


def test_few_rows_are_all_kept_in_order_of_time() -> None:
    """A window of at most as many rows as there is room for."""
    assert every([5, 3, 9, 1], 4, 2).table["t"].to_pylist() == [1, 3, 5, 9]


def test_rows_that_follow_each_other_are_kept_together() -> None:
    """Whole stretches, but for the last one, of which the first rows are kept."""
    places = every(range(0, 100_000, 10), 500, 160).places
    stretches, rows = np.unique(places // 160, return_counts=True)
    assert sorted(rows)[:-31] == [4]  # 31 whole stretches of 16 rows, and what is left of 500
    (part,) = stretches[rows == 4]
    assert places[places // 160 == part].tolist() == [part * 160 + at for at in (0, 10, 20, 30)]


def test_stretches_are_kept_uniformly() -> None:
    """Each stretch of a window has the same chance, whatever its place in it."""
    windows, stretches, kept_of_them = 400, 128, 32
    counts = np.zeros(stretches)
    for window in range(windows):
        first = window * stretches * 16
        places = every(range(first, first + stretches * 16), kept_of_them * 16, 16).places
        counts[np.unique(places // 16 - window * stretches)] += 1
    share = kept_of_them / stretches
    spread = math.sqrt(windows * share * (1 - share))
    assert np.abs(counts - windows * share).max() < 4.5 * spread
    assert abs(counts[:64].sum() - counts[64:].sum()) < 4.5 * spread * math.sqrt(stretches)


def test_where_rows_share_their_times_single_rows_are_kept(rng: np.random.Generator) -> None:
    """A hundred rows a second: the sample is of the whole window, not of one moment of it."""
    times = np.repeat(np.arange(600), 100)
    step = typical_step(times, np.zeros(len(times), dtype=np.int64), 1.0)
    table = pa.table({"t": times, "x": rng.normal(size=len(times))})
    (own,) = keep_rows(table, times, [len(times)], 500, 16 * step)
    counts = np.bincount(own.places // 60, minlength=10)
    assert np.abs(counts - 50).max() < 4.5 * math.sqrt(500 * 0.1 * 0.9)


def test_what_does_not_fit_together_is_refused() -> None:
    """Stretches of different lengths have different ranks."""
    with pytest.raises(ValueError, match="stretches of 2 and of 3 do not merge"):
        every([1], 9, 2) + every([2], 9, 3)


def test_where_one_part_kept_no_rows_nothing_is_kept() -> None:
    """The rows of the others alone would not be a sample of the window."""
    rows = every([1, 2], 9, 1)
    assert rows + NO_ROWS is NO_ROWS
    assert NO_ROWS + rows is NO_ROWS
    assert keep_rows(rows.table, rows.places, [1, 1], 0, 1) == [NO_ROWS, NO_ROWS]


def test_what_is_kept_does_not_hold_on_to_what_is_not() -> None:
    """A slice would keep the memory of a whole batch."""
    places = np.arange(100_000)
    (own,) = keep_rows(pa.table({"t": places}), places, [len(places)], 100, 16)
    assert own.table.get_total_buffer_size() <= 100 * 8


def test_a_slice_is_pickled_without_the_rest() -> None:
    """The parts of a batch share the table that they were cut from, and cross a shuffle each."""
    places = np.arange(10_000)
    table = pa.table({"t": places, "s": places.astype(str)})
    parts = keep_rows(table, places, [10] * 1000, 500, 16)
    data = pickle.dumps(parts[7])
    assert len(data) < 2000
    again = pickle.loads(data)  # noqa: S301 (our own)
    assert again.table.equals(parts[7].table)
    assert (again.capacity, again.run) == (500, 16)
    np.testing.assert_array_equal(again.places, parts[7].places)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_step_is_that_of_neighbours_also_in_a_sample(
    rng: np.random.Generator, share: float
) -> None:
    """Hourly rows of three keys, of which a share was drawn."""
    times = np.tile(np.arange(30_000) * 3600, 3)
    keys = np.repeat(np.arange(3), 30_000)
    drawn = np.flatnonzero(rng.random(len(times)) < share)
    assert typical_step(times[drawn], keys[drawn], share) == 3600


def test_a_gap_does_not_change_the_step() -> None:
    """Nor do nights without rows."""
    times = np.concatenate([np.arange(8) * 60 + day * 86_400 for day in range(50)])
    assert typical_step(times, np.zeros(len(times), dtype=np.int64), 1.0) == 60


def test_one_row_a_key_has_no_step() -> None:
    """There are no neighbours."""
    assert typical_step(np.arange(5), np.arange(5), 1.0) == 0


def stream(**changes: object) -> Stream:
    """Return a stream of columns in every role."""
    given: dict[str, object] = {
        "tidegauge": 1,
        "name": "s",
        "source": {"path": "c.csv"},
        "reference": {"path": "r.csv"},
        "time": {"column": "at"},
        "key": ["site"],
        "columns": {
            "a": {"type": "number"},
            "b": {"type": "category", "role": "condition"},
            "c": {"type": "number", "role": "target"},
            "d": {"type": "category", "role": "ignore"},
        },
        "lags": ["1h"],
        "window": {"length": "1d"},
    }
    return Stream.model_validate(given | changes)


def test_columns_are_all_but_the_ignored_and_the_key() -> None:
    """The event time first, the lagged ones last."""
    assert kept_columns(stream()) == ["at", "a", "b", "c", "a 1h ago"]


@pytest.mark.parametrize(
    ("asked", "keys", "window", "rows"),
    [
        (500, 1, {"length": "1d"}, 500),
        (MOST, 1, {"length": "1d"}, MOST),
        (MOST, 1_000, {"length": "1d"}, HELD // 5_000),
        (500, 10_000, {"length": "1d"}, HELD // 50_000),
        (500, 10_000, {"length": "1d", "every": "12h"}, HELD // 100_000),
        (500, 40_000, {"length": "1d"}, 0),
        (FEWEST, 1, {"length": "1d"}, FEWEST),
        (0, 1, {"length": "1d"}, 0),
    ],
)
def test_rows_kept_are_bounded_over_all_keys(
    asked: int, keys: int, window: dict[str, str], rows: int
) -> None:
    """Ten million values in all; too few rows are none."""
    assert rows_of_a_window(stream(window=window, explain={"rows": asked}), keys) == rows


def test_without_event_time_the_place_is_the_position_in_the_source() -> None:
    """However the source was cut into files."""
    rows = stream(time=None, lags=[], window={"rows": 100}, alarms={"false": "1 per 9 windows"})
    table = pa.table({"a": [0.5, 1.5], ROW: pa.array([7, 8])})
    assert places_of(rows, table, 100).tolist() == [107, 108]


@settings(max_examples=20)
@given(rows=_ROWS)
def test_tables_of_a_group_have_one_chunk(rows: list[tuple[object, ...]]) -> None:
    """They are written as one batch."""
    own = kept(rows, 5, 2) + kept(rows, 5, 2)
    assert {column.num_chunks for column in own.table.columns} == {1}


def test_a_sum_of_many_short_parts_is_put_together_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A week that slides by the hour is a sum of 168 parts, and each would cost what it holds."""
    lengths: list[int] = []
    lowest = kept_rows._lowest

    def counted(places: kept_rows.Places, *about: Any) -> kept_rows.Places:
        lengths.append(len(places))
        return lowest(places, *about)

    parts = [every(range(at * 10, at * 10 + 10), 100, 16) for at in range(168)]
    expected = every(range(1680), 100, 16)
    monkeypatch.setattr(kept_rows, "_lowest", counted)
    merged = functools.reduce(operator.add, parts)
    assert merged.table.equals(expected.table)
    assert len(lengths) <= 1 + 168 * 10 // 100
    assert max(lengths) <= 2 * 100 + 10
