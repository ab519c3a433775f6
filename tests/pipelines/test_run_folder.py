from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.run_folder import RUN_VERSION, Run, open_run
from schemas.errors import OutputError
from schemas.records import RECORDS
from tests.run_folders import FEATURES, weather_stream, write_run_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run folder of four weeks."""
    return write_run_folder(tmp_path / "run", weeks=4, shifted_week=2)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a run folder."""
    path = folder / "run.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_run_gives_back_what_was_written(folder: Path) -> None:
    """The stream, the manifest and every table come back."""
    run = open_run(folder)
    assert isinstance(run, Run)
    assert run.folder == folder
    assert run.stream == weather_stream()
    assert run.manifest["rows"]["used"] == 4 * 168
    assert run.table("findings").height == 4 * (len(FEATURES) + 3)
    assert run.table("forecasts").height == 4 * 168
    alarmed = run.table("findings").filter(pl.col("alarm"))["subject"].to_list()
    assert alarmed == ["LGA.temp"]


def test_reader_opens_only_listed_parts(folder: Path) -> None:
    """A part that the manifest does not list, such as one of a run in progress, is not read."""
    (folder / "findings" / "part-99999.parquet").write_bytes(b"half a file")
    assert open_run(folder).table("findings").height == 4 * (len(FEATURES) + 3)


@pytest.mark.parametrize("name", list(RECORDS))
def test_table_without_parts_is_empty_and_typed(folder: Path, name: str) -> None:
    """A run that wrote no part of a table has an empty one with the same columns and types."""
    full = open_run(folder).table(name).schema
    edit(folder, lambda manifest: manifest["files"].pop(name, None))
    empty = open_run(folder).table(name)
    assert empty.is_empty()
    assert empty.schema == full


def test_folders_named_like_partitions_add_no_columns(folder: Path) -> None:
    """`key=LGA` in a path is a place, not a column."""
    inside = folder / "findings" / "hour=3"
    inside.mkdir()
    (folder / "findings" / "part-00000.parquet").rename(inside / "part.parquet")
    edit(
        folder, lambda manifest: manifest["files"].update(findings=["findings/hour=3/part.parquet"])
    )
    assert "hour" not in open_run(folder).table("findings").columns


def test_folder_without_manifest_is_refused(folder: Path) -> None:
    """A run that was not finished is not a run."""
    (folder / "run.json").unlink()
    with pytest.raises(OutputError, match=r"it has no run\.json; name the folder"):
        open_run(folder)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """The message says that the folder is not there."""
    with pytest.raises(OutputError, match="there is no such folder"):
        open_run(tmp_path / "nothing")


def test_file_instead_of_folder_is_refused(folder: Path) -> None:
    """Naming run.json itself is answered with what to name."""
    with pytest.raises(OutputError, match="a file; name the folder"):
        open_run(folder / "run.json")


def test_newer_run_is_refused(folder: Path) -> None:
    """A run of a later format asks for an upgrade."""
    edit(folder, lambda manifest: manifest.update(version=RUN_VERSION + 1))
    with pytest.raises(OutputError, match=r"newer tidegauge .* upgrade"):
        open_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\udcff", '{"version": "1"}'])
def test_damaged_manifest_is_refused(folder: Path, text: str) -> None:
    """Whatever run.json holds, the error names it and is ours."""
    (folder / "run.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(OutputError, match=r"run\.json: cannot be read as the manifest"):
        open_run(folder)


@pytest.mark.parametrize("key", ["stream", "rows", "windows", "files", "finished", "baseline_id"])
def test_manifest_without_a_key_is_refused(folder: Path, key: str) -> None:
    """A manifest that lacks a key is named with the key."""
    edit(folder, lambda manifest: manifest.pop(key))
    with pytest.raises(OutputError, match=f"manifest of a run: {key}: Field required"):
        open_run(folder)


def test_manifest_with_a_time_without_zone_is_refused(folder: Path) -> None:
    """A time that could mean any hour is not a time."""
    edit(folder, lambda manifest: manifest.update(finished="2013-12-31T06:00:00"))
    with pytest.raises(OutputError, match=r"finished: .* without a zone"):
        open_run(folder)


def test_manifest_may_hold_more(folder: Path) -> None:
    """Keys that this version does not know are kept."""
    edit(folder, lambda manifest: manifest.update(host="worker-3"))
    assert "host" in open_run(folder).manifest


def test_manifest_with_an_invalid_stream_is_refused(folder: Path) -> None:
    """The error says which key of the stream is wrong."""
    edit(folder, lambda manifest: manifest["stream"].update(name="not a name"))
    with pytest.raises(OutputError, match="its stream is not valid: name"):
        open_run(folder)


def test_missing_part_is_refused(folder: Path) -> None:
    """A listed part that is gone is named when the run is opened, not when it is read."""
    (folder / "rejects" / "part-00000.parquet").unlink()
    with pytest.raises(OutputError, match=r"rejects/part-00000\.parquet is missing"):
        open_run(folder)


@pytest.mark.parametrize("part", ["../../secret.parquet", "/etc/passwd"])
def test_part_outside_the_folder_is_refused(folder: Path, part: str) -> None:
    """A manifest cannot make the reader open files elsewhere."""
    edit(folder, lambda manifest: manifest["files"].update(findings=[part]))
    with pytest.raises(OutputError, match="outside the run folder"):
        open_run(folder)


def test_damaged_part_is_an_output_error(folder: Path) -> None:
    """A truncated Parquet file is reported with the folder, without a traceback."""
    part = folder / "findings" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-200])
    run = open_run(folder)
    with pytest.raises(OutputError, match="a part of this run cannot be read"):
        run.table("findings")
