"""Parts are named by what they hold, written whole, and by one run at a time."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.files import write_text
from pipelines.sinks import WriteParts, read_parts, staging_folder, write_part
from schemas.errors import OutputError

TABLE = pa.table({"a": [1, 2, 3]})


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_part_is_named_by_its_content(tmp_path: Path) -> None:
    """The same table twice is one part; another table is another."""
    first = write_part(TABLE, tmp_path)
    assert write_part(TABLE, tmp_path) == first
    assert names(tmp_path) == [first.name]
    assert pq.read_table(first).equals(TABLE)
    other = write_part(TABLE.slice(1), tmp_path)
    assert names(tmp_path) == sorted([first.name, other.name])
    read = read_parts(tmp_path)
    assert read is not None
    assert read.num_rows == 5


def test_folder_without_parts_reads_as_none(tmp_path: Path) -> None:
    """A folder that is empty, or is not there, has no table."""
    assert read_parts(tmp_path) is None
    assert read_parts(tmp_path / "none") is None


def test_part_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file in the way of the folder is named."""
    (tmp_path / "x").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_part(TABLE, tmp_path / "x")


def test_graph_writes_all_rows_and_no_empty_part(tmp_path: Path) -> None:
    """Every row of every table is in some part; tables without rows leave none."""
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tables = pipeline | beam.Create([TABLE, TABLE.slice(2), TABLE.slice(3)])
        _ = tables | WriteParts(tmp_path / "some")
        _ = (
            pipeline
            | "none" >> beam.Create([TABLE.slice(3)])
            | "w" >> WriteParts(tmp_path / "none")
        )
    read = read_parts(tmp_path / "some")
    assert read is not None
    assert sorted(read["a"].to_pylist()) == [1, 2, 3, 3]
    assert not (tmp_path / "none").exists()


def test_large_bundle_is_cut_into_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle holds no more rows in memory than a part takes."""
    monkeypatch.setattr("pipelines.sinks._ROWS_PER_PART", 5)
    from pipelines.sinks import _WriteParts

    writer = _WriteParts(str(tmp_path))
    writer.start_bundle()
    for number in range(4):
        writer.process(pa.table({"a": [number] * 3}))
        assert writer.rows < 5
    writer.finish_bundle()
    sizes = [pq.read_metadata(path).num_rows for path in tmp_path.iterdir()]
    assert sorted(sizes) == [6, 6]


def test_staging_folder_is_private_and_gone_after(tmp_path: Path) -> None:
    """It begins empty, whatever a killed run left, and is removed; the rest of the folder stays."""
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".staging" / "old").write_text("left by a killed run")
    (tmp_path / "kept").write_text("")
    with staging_folder(tmp_path) as staging:
        assert names(staging) == []
        (staging / "x").write_text("")
    assert names(tmp_path) == [".lock", "kept"]


def test_second_run_of_a_folder_is_refused(tmp_path: Path) -> None:
    """While one run holds the folder another is told so; afterwards it may."""
    with staging_folder(tmp_path) as staging:
        (staging / "x").write_text("")
        with pytest.raises(OutputError, match="another run"), staging_folder(tmp_path):
            pass
        assert names(staging) == ["x"]
    with staging_folder(tmp_path):
        pass


def fail_in(folder: Path) -> None:
    """Stop in the middle of a run."""
    with staging_folder(folder) as staging:
        (staging / "x").write_text("")
        raise KeyboardInterrupt


def test_failed_run_leaves_no_folder_that_was_not_there(tmp_path: Path) -> None:
    """A folder made for a run that fails is removed; one that was there keeps what it had."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept").write_text("")
    for name in ("new", "old"):
        with pytest.raises(KeyboardInterrupt):
            fail_in(tmp_path / name)
    assert names(tmp_path) == ["old"]
    assert names(tmp_path / "old") == [".lock", "kept"]


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old file, and no other; folders on the way are made."""
    path = tmp_path / "deep" / "x.json"
    write_text(path, "old\n")
    assert path.read_text() == "old\n"
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert path.read_text() == "old\n"
    assert names(path.parent) == ["x.json"]
    (tmp_path / "folder" / "x.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"x\.json: cannot be written"):
        write_text(tmp_path / "folder" / "x.json", "text")
    assert names(tmp_path / "folder") == ["x.json"]
