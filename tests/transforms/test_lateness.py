from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import REJECT, Batch
from transforms.lateness import MOST_AHEAD, Lateness, late_rows, without_future
from transforms.rejects import ROW

HOURLY = Lateness(length=10, every=10, behind=0, allowed=5)
SLIDING = Lateness(length=10, every=5, behind=0, allowed=0)


def late(times: list[int], watermark: int | None, *, lateness: Lateness = HOURLY) -> list[bool]:
    """Mark late rows that have no order."""
    marked = lateness.late(np.array(times), watermark, None, ordered=False)
    return [bool(mark) for mark in marked]


def test_a_row_is_late_when_its_window_is_final() -> None:
    """At the end of the window and the lateness it allows, not before."""
    assert late([0, 9, 10], 14) == [False, False, False]
    assert late([0, 9, 10], 15) == [True, True, False]
    assert late([0, 9, 10], None) == [False, False, False]


def test_a_row_in_several_windows_is_late_with_the_last_of_them() -> None:
    """Of sliding windows, one may be final and another not."""
    assert late([0, 4, 5], 14, lateness=SLIDING) == [True, True, False]
    assert SLIDING.final(-5, 9)
    assert not SLIDING.final(0, 9)


def test_in_a_partition_the_watermark_goes_from_row_to_row() -> None:
    """A row is measured against those before it, not against those behind it."""
    mark = HOURLY.late(np.array([0, 30, 9, 20]), None, None, ordered=True)
    assert mark.tolist() == [False, False, True, False]
    assert HOURLY.late(np.array([0]), None, 30, ordered=True).tolist() == [True]
    behind = Lateness(length=10, every=10, behind=16, allowed=5)
    assert not behind.late(np.array([0, 30, 9, 20]), None, None, ordered=True).any()


@given(st.lists(st.integers(0, 200), max_size=40), st.data())
def test_lateness_does_not_depend_on_how_a_partition_is_cut(
    times: list[int], data: st.DataObject
) -> None:
    """Two batches, the second told of the first, mark what one batch marks."""
    cut = data.draw(st.integers(0, len(times)))
    whole = HOURLY.late(np.array(times, np.int64), None, None, ordered=True)
    before = max(times[:cut], default=None)
    first = HOURLY.late(np.array(times[:cut], np.int64), None, None, ordered=True)
    second = HOURLY.late(np.array(times[cut:], np.int64), None, before, ordered=True)
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


def test_late_rows_are_told_with_all_they_hold() -> None:
    """As rejects: the place of the row, the reason, and its values as JSON."""
    table = pa.table({"a": [1.5, None], "k": ["x", "y"], ROW: [7, 8]})
    rejects = late_rows(Batch(table, "f", 7), np.array([False, True]), "s")
    assert rejects.schema.equals(REJECT)
    (row,) = rejects.to_pylist()
    assert (row["path"], row["row"], row["reason"]) == ("f", 8, "late")
    assert json.loads(row["raw"]) == {"a": None, "k": "y"}


@pytest.mark.parametrize("times", [[], [3]])
def test_few_rows_are_no_trouble(times: list[int]) -> None:
    """An empty batch has no late rows."""
    mark = HOURLY.late(np.array(times, np.int64), 0, 0, ordered=True)
    assert mark.tolist() == [False] * len(times)


def test_rows_of_the_future_are_rejected() -> None:
    """A clock that jumped ahead may not make all other rows late."""
    now = 1_800_000_000
    times = pa.array([now, now + MOST_AHEAD, now + MOST_AHEAD + 1], pa.int64())
    table = pa.table({"t": pa.array([int(t) * 10**6 for t in times.to_pylist()]), ROW: [4, 5, 6]})
    table = table.set_column(0, "t", table["t"].cast(pa.timestamp("us", "UTC")))
    batch, rejects = without_future(Batch(table, "f/0", 4), "t", "s", now)
    assert batch.table[ROW].to_pylist() == [4, 5]
    assert rejects.select(["row", "reason"]).to_pylist() == [{"row": 6, "reason": "future"}]
    same, none = without_future(batch, "t", "s", now)
    assert same is batch
    assert none.num_rows == 0
