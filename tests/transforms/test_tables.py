from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from schemas.errors import SourceError
from transforms.tables import guess_source, read_head, read_table


@pytest.fixture
def table(rng: np.random.Generator) -> pa.Table:
    """Return a table of the usual types."""
    return pa.table(
        {
            "n": rng.normal(size=300),
            "i": rng.integers(0, 50, 300),
            "c": rng.choice(["a", "b"], 300),
            "b": rng.random(300) < 0.5,
            "t": pa.array(np.arange(300) * 10**9).cast(pa.timestamp("us", tz="UTC")),
        }
    )


def write(table: pa.Table, folder: Path) -> list[str]:
    """Write a table in all formats, and return the paths."""
    pq.write_table(table, folder / "x.parquet")
    pcsv.write_csv(table, folder / "x.csv")
    with pa.ipc.new_file(folder / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    rows = table.set_column(4, "t", table["t"].cast(pa.string())).to_pylist()
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [str(folder / f"x.{suffix}") for suffix in ("parquet", "csv", "arrow", "jsonl")]


def test_every_format_gives_the_same_typed_table(table: pa.Table, tmp_path: Path) -> None:
    """Types are inferred alike from typed files and from texts."""
    for path in write(table, tmp_path):
        read, rejects = read_table(path)
        assert read.equals(table), path
        assert rejects.num_rows == 0


def test_glob_is_read_in_order_of_name(table: pa.Table, tmp_path: Path) -> None:
    """The rows of several files follow each other by name, and rejects name their file."""
    pcsv.write_csv(table.slice(100), tmp_path / "b.csv")
    pcsv.write_csv(table.slice(0, 100), tmp_path / "a.csv")
    with (tmp_path / "b.csv").open("a") as file:
        file.write('bad,1,"a",true,2020-01-01\n1\n')
    read, rejects = read_table(str(tmp_path / "*.csv"), "s")
    assert read.equals(table)
    assert [(r["path"], r["row"], r["reason"], r["stream"]) for r in rejects.to_pylist()] == [
        (str(tmp_path / "b.csv"), 201, "ragged", "s"),
        (str(tmp_path / "b.csv"), 200, "type", "s"),
    ]


def test_nan_is_null_and_nothing_else_is_copied(table: pa.Table, tmp_path: Path) -> None:
    """NaN of a Parquet file is a missing value."""
    values = table["n"].to_numpy().copy()
    values[3] = np.nan
    pq.write_table(pa.table({"n": values}), tmp_path / "x.parquet")
    read, _ = read_table(str(tmp_path / "x.parquet"))
    assert read["n"].null_count == 1
    assert read["n"][3].as_py() is None


def test_types_are_told_by_all_rows(tmp_path: Path) -> None:
    """A float after a hundred thousand integers makes numbers of them, not a reject of it."""
    path = tmp_path / "x.csv"
    path.write_text("x\n" + "1\n" * 100_000 + "1.5\n")
    read, rejects = read_table(str(path))
    assert (read.schema.field("x").type, read.num_rows, rejects.num_rows) == (
        pa.float64(),
        100_001,
        0,
    )


def test_columns_that_files_hold_differently_become_one(tmp_path: Path) -> None:
    """A column of numbers in one file and of texts in the next is read as texts first."""
    (tmp_path / "a.jsonl").write_text('{"x":1,"y":1}\n{"x":2}\n' * 10)
    (tmp_path / "b.jsonl").write_text('{"x":"3","z":true}\n')
    read, _ = read_table(str(tmp_path / "*.jsonl"))
    assert read["x"].to_pylist() == [1, 2] * 10 + [3]
    assert read["z"].null_count == 20


def test_columns_of_no_declared_type_are_left_out(tmp_path: Path) -> None:
    """Lists are passed over; a file of nothing else is an error."""
    pq.write_table(pa.table({"l": [[1]], "x": [1]}), tmp_path / "x.parquet")
    assert read_table(str(tmp_path / "x.parquet"))[0].column_names == ["x"]
    pq.write_table(pa.table({"l": [[1]]}), tmp_path / "y.parquet")
    with pytest.raises(SourceError, match="no column holds"):
        read_table(str(tmp_path / "y.parquet"))


def test_head_is_the_first_rows_as_decoded(table: pa.Table, tmp_path: Path) -> None:
    """Only as many rows as asked for are read, and texts stay texts."""
    for path in write(table, tmp_path):
        head = read_head(path, 7)
        assert head.num_rows == 7
        assert [str(v) for v in head["i"].to_pylist()] == [str(v.as_py()) for v in table["i"][:7]]
    assert read_head(str(tmp_path / "x.csv"), 7).schema.field("i").type == pa.string()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.parqet", r"there is no such file \(did you mean 'x\.parquet'\?\)"),
        ("none-*.csv", "no file matches"),
        ("", r"is a folder; give a file, or a glob such as .*\*\.parquet"),
        ("x.dat", "format"),
    ],
)
def test_path_that_cannot_be_read_is_an_error_with_a_hint(
    table: pa.Table, tmp_path: Path, name: str, says: str
) -> None:
    """A missing file, an empty glob, a folder and an unknown suffix say what to do."""
    write(table, tmp_path)
    (tmp_path / "x.dat").write_text("a\n1\n")
    with pytest.raises(SourceError, match=says):
        read_table(str(tmp_path / name) if name else str(tmp_path))


def test_file_that_cannot_be_opened_is_an_error(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may not be read is the user's to open."""
    write(table, tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match=r"x\.parquet: cannot be opened: Permission denied"):
        read_table(str(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a,b;c,d", ","), ("a;b", ";"), ("a\tb", "\t"), ("a|b|c", "|"), ("a", ",")],
)
def test_delimiter_is_guessed_from_the_header(tmp_path: Path, header: str, delimiter: str) -> None:
    """The most frequent of four delimiters is it."""
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\n")
    assert guess_source(str(path)).delimiter == delimiter


def test_reading_a_table_loads_nothing_heavy(tmp_path: Path) -> None:
    """`tidegauge check` answers in a second: no Beam, LightGBM, GX, matplotlib or scipy.stats."""
    pl.DataFrame({"x": [1.0, 2.0]}).write_parquet(tmp_path / "x.parquet")
    probe = (
        "import sys; from transforms.tables import read_table; read_table(sys.argv[1]);"
        "print(*{'apache_beam', 'lightgbm', 'great_expectations', 'matplotlib', 'scipy'}"
        " & sys.modules.keys())"
    )
    command = [sys.executable, "-c", probe, str(tmp_path / "x.parquet")]
    root = Path(__file__).parents[2]
    assert subprocess.check_output(command, text=True, cwd=root).split() == []
