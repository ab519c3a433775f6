from __future__ import annotations

import math
from dataclasses import astuple, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.summary import ColumnSummary, TableSummary, merge, summarise
from schemas.errors import BaselineError
from schemas.records import SUMMARY, WindowKey
from schemas.stream import Column

COLUMNS = {
    "temp": Column(type="number"),
    "count": Column(type="integer"),
    "wet": Column(type="boolean"),
    "kind": Column(type="category"),
    "seen": Column(type="timestamp", role="ignore"),
}
KNOWN = {"kind": frozenset({"a", "b"})}
TYPES = pa.schema(
    {
        "temp": pa.float64(),
        "count": pa.int64(),
        "wet": pa.bool_(),
        "kind": pa.string(),
        "seen": pa.timestamp("us", tz="UTC"),
    }
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "temp": st.none() | st.floats(-1e6, 1e6),
            "count": st.none() | st.integers(-(10**6), 10**6),
            "wet": st.none() | st.booleans(),
            "kind": st.none() | st.sampled_from("abcd"),
            "seen": st.none()
            | st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        }
    ),
    max_size=12,
)


def summary_of(rows: list[dict[str, object]]) -> TableSummary:
    """Summarise rows given as Python values."""
    return summarise(pa.Table.from_pylist(rows, schema=TYPES), COLUMNS, KNOWN)


def assert_same(a: TableSummary, b: TableSummary) -> None:
    """Compare two summaries up to the rounding of the largest value."""
    assert list(a.columns) == list(b.columns)
    for name, one in a.columns.items():
        two = b.columns[name]
        counts = (one.rows, one.nulls, one.min, one.max, one.new_values)
        assert counts == (two.rows, two.nulls, two.min, two.max, two.new_values)
        if one.mean is None or two.mean is None or one.min is None or one.max is None:
            assert one.mean is two.mean
            continue
        scale = max(abs(one.min), abs(one.max))
        assert one.mean == pytest.approx(two.mean, abs=1e-12 * scale)
        spread = max(one.max - one.min, 1e-12 * scale)
        assert one.m2 == pytest.approx(two.m2, abs=1e-9 * spread * scale)


@settings(max_examples=60)
@given(ROWS, st.data())
def test_merge_of_any_split_equals_the_whole(
    rows: list[dict[str, object]], data: st.DataObject
) -> None:
    """Summaries of the parts of a split, merged, equal the summary of all rows."""
    cut = data.draw(st.integers(0, len(rows)))
    assert_same(merge(summary_of(rows[:cut]), summary_of(rows[cut:])), summary_of(rows))


@settings(max_examples=40)
@given(ROWS, ROWS, ROWS)
def test_merge_is_associative_and_commutative(
    a: list[dict[str, object]], b: list[dict[str, object]], c: list[dict[str, object]]
) -> None:
    """The order of merges does not matter."""
    one, two, three = summary_of(a), summary_of(b), summary_of(c)
    assert_same(merge(one, two), merge(two, one))
    assert_same(merge(merge(one, two), three), merge(one, merge(two, three)))


@settings(max_examples=25)
@given(ROWS)
def test_empty_summary_is_the_identity_of_merge(rows: list[dict[str, object]]) -> None:
    """Merging with the empty summary changes nothing, on either side."""
    summary = summary_of(rows)
    assert merge(TableSummary(), summary) == summary == merge(summary, TableSummary())


def test_statistics_equal_numpy(rng: np.random.Generator) -> None:
    """Counts, range, mean and standard deviation are those NumPy gives for the values present."""
    values = rng.normal(1e6, 1.0, 5_000)
    missing = rng.random(5_000) < 0.1
    table = pa.table({"temp": pa.array(values, mask=missing)})
    column = summarise(table, {"temp": COLUMNS["temp"]}).columns["temp"]
    present = values[~missing]
    assert (column.rows, column.nulls) == (5_000, missing.sum())
    assert (column.min, column.max) == (present.min(), present.max())
    assert column.mean == pytest.approx(present.mean(), rel=1e-14)
    assert column.std == pytest.approx(present.std(ddof=1), rel=1e-9)


def test_new_values_counts_rows_with_a_value_the_reference_never_had() -> None:
    """Nulls and known values are not counted; without a vocabulary nothing is."""
    table = pa.table({"kind": ["a", "c", None, "c", "b"]})
    columns = {"kind": COLUMNS["kind"]}
    assert summarise(table, columns, KNOWN).columns["kind"] == ColumnSummary(5, 1, new_values=2)
    assert summarise(table, columns).columns["kind"].new_values is None


def test_booleans_and_timestamps_have_numbers() -> None:
    """A boolean's mean is the share of true; a timestamp counts in seconds since 1970."""
    summary = summary_of(
        [
            {"wet": True, "seen": datetime(1970, 1, 1, 0, 1, tzinfo=UTC)},
            {"wet": False, "seen": datetime(1970, 1, 1, 0, 2, tzinfo=UTC)},
        ]
    )
    assert summary.columns["wet"].mean == 0.5
    assert (summary.columns["seen"].min, summary.columns["seen"].max) == (60.0, 120.0)


@given(
    st.lists(st.floats(width=64) | st.sampled_from([1.7e308, -1.7e308, 1e200]), max_size=8),
    st.lists(st.floats(width=64) | st.sampled_from([1.7e308, -1.7e308, 1e200]), max_size=8),
)
def test_no_statistic_is_nan_or_infinite(left: list[float], right: list[float]) -> None:
    """Whatever floats come in, the rows of the summary hold finite numbers or nothing."""
    parts = [
        summarise(pa.table({"temp": pa.array(side, pa.float64())}), {"temp": COLUMNS["temp"]})
        for side in (left, right)
    ]
    merged = merge(*parts)
    finite = sum(math.isfinite(value) for value in left + right)
    assert merged.columns["temp"].values == finite
    for summary in (*parts, merged):
        (row,) = summary.rows("s", WindowKey("{}", None, None))
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
        assert (row["mean"] is None) == (row["min"] is None) == (row["rows"] == row["nulls"])


def test_constant_column_has_no_spread() -> None:
    """A constant has standard deviation 0 exactly, also after merging uneven parts."""
    parts = [
        summarise(pa.table({"temp": [0.1] * n}), {"temp": COLUMNS["temp"]}) for n in (7, 1_000, 3)
    ]
    column = merge(merge(parts[0], parts[1]), parts[2]).columns["temp"]
    assert (column.mean, column.std) == (0.1, 0.0)


def test_one_value_has_no_standard_deviation() -> None:
    """The spread of a single value is unknown, not zero."""
    assert summary_of([{"temp": 3.0}]).columns["temp"].std is None


def test_rows_follow_the_summary_schema() -> None:
    """The rows fit `SUMMARY` and carry the window they are about."""
    window = WindowKey('{"site": "A"}', datetime(2026, 1, 1, tzinfo=UTC), None, 3)
    rows = summary_of([{"temp": 1.0, "kind": "c"}, {}]).rows("s", window)
    table = pa.Table.from_pylist(rows, schema=SUMMARY)
    assert table["column"].to_pylist() == list(COLUMNS)
    assert set(table["key"].to_pylist()) == {'{"site": "A"}'}
    assert set(table["window_index"].to_pylist()) == {3}
    assert table["null_rate"].to_pylist() == [0.5, 1.0, 1.0, 0.5, 1.0]
    assert table["new_values"].to_pylist() == [None, None, None, 1, None]


@settings(max_examples=25)
@given(ROWS)
def test_json_round_trip_is_exact(rows: list[dict[str, object]]) -> None:
    """What `to_json` writes, `from_json` reads back bit for bit."""
    summary = summary_of(rows)
    again = TableSummary.from_json(summary.to_json())
    assert {n: astuple(c) for n, c in again.columns.items()} == {
        n: astuple(c) for n, c in summary.columns.items()
    }


def test_json_round_trip_keeps_the_largest_spread() -> None:
    """A saturated sum of squares is a number in JSON."""
    column = summarise(pa.table({"temp": [1e200, -1e200]}), {"temp": COLUMNS["temp"]})
    assert TableSummary.from_json(column.to_json()) == column
    assert column.columns["temp"].m2 == pytest.approx(1.7976931348623157e308)


@pytest.mark.parametrize("text", ["", "{", '{"columns": {"temp": {"rows": "many"}}}'])
def test_damaged_json_is_a_baseline_error(text: str) -> None:
    """Damaged text is named as such, with what to do."""
    with pytest.raises(BaselineError, match="tidegauge fit"):
        TableSummary.from_json(text)


def test_merge_takes_a_column_that_one_side_lacks() -> None:
    """Columns are merged by name; one that only one side has stays as it is."""
    one = TableSummary({"a": ColumnSummary(2, 0, 1.0, 2.0, 1.5, 0.5)})
    two = TableSummary({"b": replace(one.columns["a"], nulls=1)})
    assert merge(one, two) == TableSummary({**one.columns, **two.columns})
