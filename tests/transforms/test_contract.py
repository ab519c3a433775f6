from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceError
from schemas.records import REJECT, Batch
from schemas.stream import Column, ColumnType, Time
from transforms.contract import ROW, Checked, check_rows

ARROW = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "category": pa.string(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def column(kind: ColumnType, **rules: Any) -> Column:
    """Return a column of a type that may be a timestamp, too."""
    return Column(type=kind, role="ignore", **rules)


def check(values: Any, kind: ColumnType, **rules: Any) -> Checked:
    """Check one column."""
    table = pa.table({"x": values})
    return check_rows(Batch(table, "p", 0), {"x": column(kind, **rules)}, None, (), "s")


def kept(values: Any, kind: ColumnType, **rules: Any) -> list[Any]:
    """Return the values that pass."""
    checked = check(values, kind, **rules)
    assert checked.batch.table.schema.field("x").type == ARROW[kind]
    return list(checked.batch.table["x"].to_pylist())


def reasons(checked: Checked) -> list[tuple[int, str, str]]:
    """Return (row, reason, column) of the rejects."""
    return [(r["row"], r["reason"], r["column"]) for r in checked.rejects.to_pylist()]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", " 1.5 ", 1.5),
        ("number", "1e3", 1000.0),
        ("number", "nan", None),
        ("number", " ", None),
        ("integer", "7", 7),
        ("integer", " -3.0", -3),
        ("integer", "1e3", 1000),
        ("integer", "9007199254740993", 9007199254740993),
        ("boolean", " TRUE", True),
        ("boolean", "No", False),
        ("boolean", "1", True),
        ("category", " a ", " a "),
        ("category", "", ""),
        ("timestamp", "2020-01-01", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_texts_are_read_leniently(kind: ColumnType, text: str, value: object) -> None:
    """A text that spells a value is that value, alone and among others that do not."""
    assert kept([text], kind) == [value]
    if kind != "category":
        checked = check([text, "junk", None], kind)
        assert checked.batch.table["x"].to_pylist() == [value, None]
        assert reasons(checked) == [(1, "type", "x")]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("number", "1_000"),
        ("number", "1,5"),
        ("integer", "0x1F"),
        ("integer", "3.5"),
        ("integer", "1e19"),
        ("boolean", "2"),
        ("boolean", "t"),
        ("timestamp", "1577836800"),
    ],
)
def test_text_of_another_type_is_rejected_with_itself(kind: ColumnType, text: str) -> None:
    """A text that spells no such value goes to the rejects, quoted in the detail."""
    rejects = check([text], kind).rejects.to_pylist()
    assert [(r["reason"], r["column"]) for r in rejects] == [("type", "x")]
    assert repr(text) in rejects[0]["detail"]


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "timestamp"])
def test_views_of_texts_are_read_as_texts(kind: ColumnType) -> None:
    """A view, as Polars writes texts, that spells no such value goes to the rejects."""
    checked = check(pa.array(["no such value", None], pa.string_view()), kind)
    assert reasons(checked) == [(0, "type", "x")]


@pytest.mark.parametrize(
    ("values", "kind", "result"),
    [
        (pa.array([1, None], pa.int8()), "number", [1.0, None]),
        (pa.array([2**60 + 1]), "number", [float(2**60)]),
        (pa.array([1.0, float("nan"), None]), "number", [1.0, None, None]),
        (pa.array([Decimal("1.50")]), "number", [1.5]),
        (pa.array([True]), "number", [1.0]),
        (pa.array([2.0, None, float("nan")]), "integer", [2, None, None]),
        (pa.array([5], pa.uint64()), "integer", [5]),
        (pa.array([1, 0, None]), "boolean", [True, False, None]),
        (pa.array([1.0, 0.0]), "boolean", [True, False]),
        (pa.array([3, None]), "category", ["3", None]),
        (pa.array([3.0, float("nan")]), "category", ["3", None]),
        (pa.array([True]), "category", ["true"]),
        (pa.array([dt.date(2020, 1, 2)]), "category", ["2020-01-02"]),
        (pa.array(["a"], pa.large_string()), "category", ["a"]),
        (pa.array(["a", None]).dictionary_encode(), "category", ["a", None]),
        (pa.array(["1"], pa.string_view()), "number", [1.0]),
        (pa.nulls(2), "number", [None, None]),
        (pa.nulls(1), "boolean", [None]),
        (pa.nulls(1), "timestamp", [None]),
        (pa.array([float("nan")]), "timestamp", [None]),
    ],
)
def test_arrow_types_that_can_hold_a_type_are_cast(
    values: pa.Array, kind: ColumnType, result: list[Any]
) -> None:
    """Whatever can be read as the declared type comes out as that type; NaN comes out as null."""
    assert kept(values, kind) == result


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([[1]]), "number"),
        (pa.array([{"a": 1}]), "category"),
        (pa.array([b"1"]), "number"),
        (pa.array([b"x"]), "category"),
        (pa.array([dt.date(2020, 1, 1)]), "number"),
        (pa.array([dt.timedelta(1)]), "category"),
        (pa.array([True]), "timestamp"),
    ],
)
def test_type_that_cannot_hold_the_declared_one_is_an_error(
    values: pa.Array, kind: ColumnType
) -> None:
    """A column of lists is no column with bad rows: the stream file is wrong."""
    with pytest.raises(SourceError, match=f"^p: column 'x' holds .* read as {kind}; correct"):
        check(values, kind)


def test_missing_column_is_an_error() -> None:
    """A declared column that the batch has not is named, with the nearest that it has."""
    with pytest.raises(SourceError, match=r"'temprature' \(did you mean 'temperature'"):
        check_rows(
            Batch(pa.table({"temperature": [1]}), "p", 0),
            {"temprature": column("number")},
            None,
            (),
            "s",
        )


@pytest.mark.parametrize("values", [["inf", "-Infinity", "1"], [float("inf"), -float("inf"), 1.0]])
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_infinities_are_rejected(values: list[Any], kind: ColumnType) -> None:
    """An infinity is a number, but not one to compute with."""
    assert reasons(check(values, kind)) == [(0, "infinite", "x"), (1, "infinite", "x")]


def test_rules_reject_by_name() -> None:
    """Range, categories and nullability have a reason each."""
    assert reasons(check([0, 1, 2, 3, None], "integer", min=1, max=2)) == [
        (0, "range", "x"),
        (3, "range", "x"),
    ]
    assert reasons(check(["a", "b", None], "category", categories=("a",))) == [(1, "category", "x")]
    assert reasons(check([1.0, None, float("nan")], "number", nullable=False)) == [
        (1, "null", "x"),
        (2, "null", "x"),
    ]


def test_event_time_and_key_come_first_and_must_have_values() -> None:
    """Rows without event time or key are rejected; a skipped local hour is no time."""
    table = pa.table(
        {
            "x": ["bad", "bad", "1", "bad", "2"],
            "k": [1, None, 2, 3, 4],
            "t": ["", "2020-01-01", "2020-03-29 02:30", "2020-10-25 02:30", "2020-01-01T00:00Z"],
        }
    )
    time = Time(column="t", zone="Europe/Paris")
    checked = check_rows(Batch(table, "p", 10), {"x": column("number")}, time, ["k"], "s")
    assert reasons(checked) == [
        (10, "time", "t"),
        (11, "null", "k"),
        (12, "time", "t"),
        (13, "type", "x"),
    ]
    assert checked.batch.table.to_pylist() == [
        {"t": dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "k": "4", "x": 2.0, ROW: 14}
    ]


def test_numeric_event_times_are_read_by_magnitude_and_texts_are_not() -> None:
    """A count since the epoch is an event time only where the column is numeric."""
    time = Time(column="t")
    for values, rejected in ((pa.array([1_600_000_000]), 0), (pa.array(["1600000000"]), 1)):
        batch = Batch(pa.table({"t": values, "x": [1]}), "p", 0)
        assert (
            check_rows(batch, {"x": column("number")}, time, (), "s").rejects.num_rows == rejected
        )


def test_reject_holds_the_row_as_it_came() -> None:
    """The raw row is JSON of the original values, whatever their types; infinities are texts."""
    table = pa.table(
        {
            "x": [float("inf")],
            "é": ["ü"],
            "n": pa.array([1_500_000_000_123_456_789], pa.timestamp("ns")),
            "b": [b"\xff"],
            ROW: [42],
        }
    )
    checked = check_rows(Batch(table, "p", 0), {"x": column("number")}, None, (), "s")
    assert checked.rejects.schema.equals(REJECT)
    (reject,) = checked.rejects.to_pylist()
    assert (reject["stream"], reject["path"], reject["row"]) == ("s", "p", 42)
    assert json.loads(reject["raw"]) == {
        "x": "inf",
        "é": "ü",
        "n": "2017-07-14 02:40:00.123456789",
        "b": "b'\\xff'",
    }


def test_clean_typed_columns_are_not_copied(rng: np.random.Generator) -> None:
    """A column of the declared type passes through in the same memory."""
    values = pa.array(rng.normal(size=1000))
    checked = check(values, "number")
    out = checked.batch.table["x"].chunk(0)
    assert out.buffers()[1].address == values.buffers()[1].address


def test_chunks_and_empty_batches_make_no_difference() -> None:
    """The result depends on the rows, not on how they are chunked."""
    chunks = pa.chunked_array([["1", "x"], [], ["3"], [None]], pa.string())
    assert kept(chunks, "number") == [1.0, 3.0, None]
    assert reasons(check(chunks, "number")) == [(1, "type", "x")]
    for kind in ARROW:
        assert kept(pa.array([], pa.string()), kind) == []  # type: ignore[arg-type]


_TEXT = st.none() | st.sampled_from(
    [
        "1",
        "2.5",
        "-7",
        "inf",
        "nan",
        "",
        " 3 ",
        "true",
        "no",
        "2020-01-01",
        "2020-06-01T00:00Z",
        "q",
    ]
)


@given(
    rows=st.lists(st.tuples(*[_TEXT | st.text(max_size=3)] * 3), max_size=20),
    kinds=st.tuples(*[st.sampled_from([*ARROW])] * 2),
    nullable=st.booleans(),
)
def test_rows_in_are_rows_out_plus_rejects(
    rows: list[tuple[str | None, ...]], kinds: tuple[ColumnType, ...], *, nullable: bool
) -> None:
    """Every row comes out once, in order; those kept would be kept by themselves."""
    table = pa.table(
        {
            name: pa.array([row[i] for row in rows], pa.string())
            for i, name in enumerate(("t", "a", "b"))
        }
    )
    columns = {n: column(k, nullable=nullable) for n, k in zip(("a", "b"), kinds, strict=True)}
    time = Time(column="t", zone="America/New_York")
    checked = check_rows(Batch(table, "p", 5), columns, time, (), "s")
    places = checked.batch.table[ROW].to_pylist()
    bad = checked.rejects["row"].to_pylist()
    assert sorted(places + bad) == list(range(5, 5 + len(rows)))
    assert places == sorted(places)
    assert bad == sorted(bad)
    assert checked.batch.table["t"].null_count == 0
    for place in range(len(rows)):
        alone = check_rows(Batch(table.slice(place, 1), "p", 5 + place), columns, time, (), "s")
        assert (alone.rejects.num_rows == 0) == (5 + place in places)
        if alone.rejects.num_rows:
            assert alone.rejects.to_pylist() == [
                r for r in checked.rejects.to_pylist() if r["row"] == 5 + place
            ]


@pytest.mark.parametrize(("year", "used"), [(1, 0), (99, 0), (101, 1), (2026, 1), (9999, 0)])
def test_event_times_beyond_the_calendar_are_rejected(year: int, used: int) -> None:
    """Their windows would begin before year 1, or end after year 9999."""
    table = pa.table({"t": [f"{year:04}-06-01T00:00:00Z"], "a": [1.0], ROW: [0]})
    checked = check_rows(
        Batch(table, "f", 0), {"a": Column(type="number")}, Time(column="t"), [], "s"
    )
    assert checked.batch.table.num_rows == used
    assert checked.rejects["reason"].to_pylist() == ["time"] * (1 - used)
