from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.contract import ROW
from transforms.windows import NO_KEY, gather, key_text, row_spans, time_spans


def times(*texts: str) -> pa.ChunkedArray:
    """Return event times."""
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]
    return pa.chunked_array([pa.array(moments, pa.timestamp("us", tz="UTC"))])


def test_spans_of_time_are_numbered_from_the_epoch_and_closed_on_the_left() -> None:
    """Also before it: a time never belongs to a span that begins after it."""
    stamps = times("1970-01-01", "1970-01-01T00:59:59.999999", "1970-01-01T01", "1969-12-31T23:30")
    assert time_spans(stamps, 3600.0).tolist() == [0, 0, 1, -1]


@given(st.integers(-(10**15), 10**15), st.sampled_from([0.5, 60.0, 3600.0, 604_800.0]))
def test_a_time_lies_in_its_span(micros: int, seconds: float) -> None:
    """Number · length ≤ time < (number + 1) · length, to the microsecond."""
    stamps = pa.chunked_array([pa.array([micros], pa.timestamp("us", tz="UTC"))])
    number, length = int(time_spans(stamps, seconds)[0]), round(seconds * 1e6)
    assert number * length <= micros < (number + 1) * length


def test_spans_of_rows_go_on_over_files_and_over_rejected_rows() -> None:
    """The position in the source decides, not the position in the batch."""
    batch = pa.table({ROW: [0, 1, 4, 5]})
    assert row_spans(batch, 0, 3).tolist() == [0, 0, 1, 1]
    assert row_spans(batch, 7, 3).tolist() == [2, 2, 3, 4]


def test_gathering_keeps_every_row_once_in_order() -> None:
    """Rows that interleave keys and spans come out by key and span, in the order they had."""
    rows = pa.table({"k": ["b", "a", "b", "a", "b"], "v": [1, 2, 3, 4, 5]})
    gathered, groups = gather(rows, ["k"], np.array([0, 0, 1, 0, 0]))
    assert [
        (group.key, group.span, gathered["v"][group.start : group.stop].to_pylist())
        for group in groups
    ] == [
        ('{"k": "b"}', 0, [1, 5]),
        ('{"k": "a"}', 0, [2, 4]),
        ('{"k": "b"}', 1, [3]),
    ]
    assert gathered.column_names == ["k", "v"]


def test_groups_of_several_key_columns_are_told_apart() -> None:
    """Equal values in different columns are different keys."""
    rows = pa.table({"k": ["a", "b", "a", "b"], "l": ["b", "a", "a", "a"], "v": [1, 2, 3, 4]})
    gathered, groups = gather(rows, ["k", "l"], np.array([7, 7, 7, 7]))
    assert {group.key: gathered["v"][group.start : group.stop].to_pylist() for group in groups} == {
        '{"k": "a", "l": "b"}': [1],
        '{"k": "b", "l": "a"}': [2, 4],
        '{"k": "a", "l": "a"}': [3],
    }


def test_without_a_key_there_is_one_group_per_span() -> None:
    """Its key is the empty JSON object."""
    _, groups = gather(pa.table({"v": [1, 2, 3]}), [], np.array([5, 5, 6]))
    assert [(group.key, group.span, group.stop - group.start) for group in groups] == [
        (NO_KEY, 5, 2),
        (NO_KEY, 6, 1),
    ]


def test_no_rows_make_no_groups() -> None:
    """An empty batch has none."""
    assert gather(pa.table({"v": pa.array([], pa.int64())}), [], np.array([], np.int64))[1] == []


@pytest.mark.parametrize("value", ["LGA", 'say "hi"', "Zürich", "a|b", ""])
def test_a_key_is_json_that_reads_back(value: str) -> None:
    """Whatever the text, two keys never share a spelling."""
    assert json.loads(key_text(["place", "kind"], [value, "x"])) == {"place": value, "kind": "x"}
