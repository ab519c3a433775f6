from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import SourceError
from schemas.stream import Stream
from schemas.stream_file import parse_stream
from transforms.draft import draft_stream_file


def series(
    step: dt.timedelta, rows: int, keys: tuple[str, ...] = ("k",), **columns: object
) -> pa.Table:
    """Return a time series of each key."""
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    times = [start + i * step for i in range(rows) for _ in keys]
    values = [(i * 7919 % 101) / 10 for i in range(len(times))]
    return pa.table({"when": times, "site": [*keys] * rows, "x": values, **columns})


def draft(table: pa.Table, path: str = "data/my table.csv", **known: str) -> Stream:
    """Return what a draft says, once read."""
    return parse_stream(draft_stream_file(path, table, None, **known), "draft")


def test_draft_is_a_valid_stream_file() -> None:
    """A draft is read as it is, and holds what was inferred."""
    stream = draft(series(dt.timedelta(hours=1), 1000, ("a", "b")))
    assert stream.name == "my-table"
    assert stream.source == stream.reference
    assert stream.reference.path == "data/my table.csv"
    assert stream.time is not None
    assert stream.time.column == "when"
    assert stream.key == ("site",)
    assert {name: c.role for name, c in stream.columns.items()} == {"x": "feature"}
    assert stream.columns["x"].unit is None
    assert stream.columns["x"].min is None


@pytest.mark.parametrize(
    ("step", "rows", "length", "calendar"),
    [
        (dt.timedelta(minutes=1), 2_000, "6h", ()),
        (dt.timedelta(minutes=5), 7_000, "1d", ("hour_of_day", "day_of_week")),
        (dt.timedelta(hours=1), 1_000, "7d", ("hour_of_day", "day_of_week")),
        (dt.timedelta(hours=1), 100, None, ("hour_of_day",)),
        (dt.timedelta(days=1), 400, "91d", ("day_of_week", "day_of_year")),
        (dt.timedelta(days=30), 50, None, ("day_of_year",)),
    ],
)
def test_window_and_calendar_follow_the_rhythm(
    step: dt.timedelta, rows: int, length: str | None, calendar: tuple[str, ...]
) -> None:
    """A window holds enough rows, the table enough windows, and terms go with the span."""
    stream = draft(series(step, rows))
    assert stream.window.length == length
    assert stream.window.rows == (1000 if length is None else None)
    assert stream.calendar == calendar
    assert stream.alarms.per_window(stream.window.every_seconds) <= 0.021


def test_rows_of_a_window_are_counted_for_each_key() -> None:
    """The comment at the window tells its rows; more keys do not make it shorter."""
    text = draft_stream_file("t.csv", series(dt.timedelta(hours=1), 1000, ("a", "b", "c")))
    assert "length: 7d  # about 168 rows of each of 3 keys" in text


def test_table_without_time_is_cut_by_rows() -> None:
    """Without times, windows are counted and the place for `time:` is shown in a comment."""
    table = series(dt.timedelta(hours=1), 100).drop_columns(["when"])
    stream = draft(table)
    assert (stream.time, stream.window.rows, stream.key, stream.calendar) == (None, 1000, (), ())


def test_guesses_are_said_to_be_guesses_and_facts_are_not() -> None:
    """Event time and keys carry the reason when guessed, nothing when given."""
    table = series(dt.timedelta(hours=1), 200, ("a", "b"))
    guessed = draft_stream_file("t.csv", table)
    assert "guessed to be the event time" in guessed
    assert "guessed to be a key" in guessed
    assert "guessed" not in draft_stream_file("t.csv", table, None, "when", ["site"])


def test_commented_parts_are_valid_when_uncommented() -> None:
    """Forecasts, sinks, ranges and categories may be used by taking the comment sign away."""
    words = pa.array(["no", "yes: 1", "null", "é"] * 25)
    text = draft_stream_file("t.csv", series(dt.timedelta(hours=1), 100, word=words))
    text = re.sub(r"^# ((forecasts|sinks):|  )", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^(    )# (min|max|categories):", r"\1\2:", text, flags=re.MULTILINE)
    stream = parse_stream(text, "draft")
    assert [forecast.target for forecast in stream.forecasts] == ["x"]
    assert stream.sinks.pushgateway is not None
    assert (stream.columns["x"].min, stream.columns["x"].max) == (0.0, 10.0)
    assert stream.columns["word"].categories == ("no", "null", "yes: 1", "é")


def test_ignored_and_left_out_columns_are_explained() -> None:
    """A column that is not watched has a line that says why."""
    names = pa.array([f"n{i}" for i in range(100)])
    table = series(dt.timedelta(hours=1), 100, name=names, nested=pa.array([{"a\nb": 1}] * 100))
    text = draft_stream_file("t.csv", table)
    assert "# 100 distinct texts in 100 rows are no categories" in text
    assert re.search(r"^  # 'nested' holds struct.*: left out$", text, re.MULTILINE)
    assert parse_stream(text, "draft").columns["name"].role == "ignore"


def test_delimiter_of_the_file_is_written(tmp_path: Path) -> None:
    """A file with semicolons is a source with that delimiter."""
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1;2\n")
    stream = draft(pa.table({"a": [1.0, 2.0, 1.0]}), str(path))
    assert stream.source == stream.reference
    assert stream.reference.delimiter == ";"


def test_table_without_columns_to_watch_is_an_error() -> None:
    """Lists alone make no stream."""
    with pytest.raises(SourceError, match=r"^t\.parquet: no column is left"):
        draft_stream_file("t.parquet", pa.table({"l": [[1]]}))


_NAME = st.text(min_size=1, max_size=8).filter(lambda name: name != "__row")
_PATH = _NAME.map(lambda name: f"{name}.x")  # no folder that is there


@given(names=st.lists(_NAME, min_size=4, max_size=4, unique=True), path=_PATH, word=st.text())
@example(['a "q"', "b\nc", " lead", "null"], "#", "- x")
@example(["true", "1", "~", "a: b # c"], "y\x85z", "\ufeff")
@example(["\u2028", "\x00", "'", "{}"], "*", "%")
@example(["😀" * 40, "-", "?", "many words " * 30], "é", "@")
def test_any_name_survives(names: list[str], path: str, word: str) -> None:
    """Whatever columns, files and values are called, the draft says it so that it is read back."""
    time, key, number, text = names
    rows = series(dt.timedelta(hours=1), 60, ("a", "b"))
    table = pa.table(
        {time: rows["when"], key: rows["site"], number: rows["x"], text: [word, "u", "v"] * 40}
    )
    source = draft_stream_file(path, table, "out\n.yaml", time, [key])
    stream = parse_stream(source, "draft")
    assert stream.time is not None
    assert (stream.time.column, stream.key, [*stream.columns]) == (time, (key,), [number, text])
    assert stream.reference.path == path
    assert stream.source == stream.reference
