"""The files of a source: found, sorted, checked and counted before any graph is built."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipelines.sinks import write_part
from pipelines.sources import (
    check_files,
    first_rows,
    read_tallies,
    row_counts,
    source_files,
    tally_table,
)
from schemas.errors import SourceError
from schemas.records import Tally
from schemas.source import Source
from schemas.stream import Stream

TABLE = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 3]})


def stream(**changes: object) -> Stream:
    """Return a stream of two columns, in windows of two rows."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "x",
            "source": {"path": "x"},
            "reference": {"path": "x"},
            "columns": {"a": {"type": "number"}, "b": {"type": "integer", "role": "ignore"}},
            "window": {"rows": 2},
            "alarms": {"false": "1 per 10 windows"},
            **changes,
        }
    )


def test_files_are_sorted_by_name(tmp_path: Path) -> None:
    """A glob gives its files in the order of their names, whatever that of the file system."""
    for name in ("b.csv", "c.csv", "a.csv", "a.txt"):
        (tmp_path / name).write_text("a,b\n")
    found = source_files(Source(path=f"{tmp_path}/*.csv"))
    assert found == [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.csv")]


@pytest.mark.parametrize("path", ["none.csv", "*.csv", "none/*.csv", "nowhere://x/y.csv"])
def test_source_without_files_is_refused(path: str, tmp_path: Path) -> None:
    """Nothing found, or a file system that is none: an error that names the path."""
    path = path if "://" in path else str(tmp_path / path)
    with pytest.raises(SourceError) as caught:
        source_files(Source(path=path))
    assert path in str(caught.value)


def test_every_file_must_have_the_columns(tmp_path: Path) -> None:
    """The second file lacks a column: it is named with the nearest, ignored columns included."""
    TABLE.write_parquet(tmp_path / "1.parquet")
    TABLE.rename({"b": "bb"}).write_parquet(tmp_path / "2.parquet")
    source = Source(path=f"{tmp_path}/*.parquet")
    with pytest.raises(SourceError, match=r"2\.parquet: has no column 'b' \(did you mean 'bb'\?\)"):
        check_files(source_files(source), source, stream())
    check_files([str(tmp_path / "1.parquet")], source, stream())


def test_key_and_time_are_columns_that_a_file_must_have(tmp_path: Path) -> None:
    """The key and the event time are looked for as the columns are."""
    TABLE.write_parquet(tmp_path / "1.parquet")
    source = Source(path=f"{tmp_path}/*.parquet")
    for changes, name in (({"key": ["site"]}, "site"), ({}, "when")):
        timed = stream(window={"length": "1d"}, time={"column": "when" if name != "site" else "a"},
                       columns={"b": {"type": "number"}}, **changes)  # fmt: skip
        with pytest.raises(SourceError, match=f"no column '{name}'"):
            check_files(source_files(source), source, timed)


def test_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """A folder among the files is named, not met with a traceback."""
    (tmp_path / "x.csv").mkdir()
    source = Source(path=f"{tmp_path}/*.csv")
    with pytest.raises(SourceError, match="cannot be opened: Is a directory"):
        check_files([str(tmp_path / "x.csv")], source, stream())


def test_first_rows_add_up_in_order_of_names(tmp_path: Path) -> None:
    """Each file begins where the one before it ended; ragged lines have their places."""
    TABLE.write_parquet(tmp_path / "1.parquet")
    (tmp_path / "2.csv").write_text("a,b\n1,2\n1,2,3\n5,6\n")
    TABLE.write_parquet(tmp_path / "3.parquet")
    paths = source_files(Source(path=f"{tmp_path}/*"))
    assert list(first_rows(paths, Source(path="x")).values()) == [0, 3, 6]


def test_tallies_add_up(tmp_path: Path) -> None:
    """Rows in = used + rejected + late, over the tallies of all files."""
    for tally in (Tally("a", 10, 3), Tally("b", 5, 0)):
        write_part(tally_table(tally), tmp_path)
    assert row_counts(read_tallies(tmp_path)) == {"in": 15, "used": 12, "rejected": 3, "late": 0}
    assert isinstance(tally_table(Tally("a", 1, 0)), pa.Table)
