"""Finds the files of a source, and says early and in one sentence what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from pipelines.run_folder import RowCounts
from pipelines.sinks import read_parts
from schemas.errors import SourceError, did_you_mean
from schemas.records import Tally
from schemas.source import Source
from schemas.stream import Stream
from transforms.beam import open_file
from transforms.decode import count_rows, read_schema


def source_files(source: Source) -> list[str]:
    """Return the files of a source, sorted by name.

    Raises
    ------
    SourceError
        When there is none, or the file system cannot be reached.
    """
    try:
        match = FileSystems.match([source.path])[0]
    except (BeamIOError, ValueError, OSError) as error:
        message = f"{source.path}: cannot be listed: {error}"
        raise SourceError(message) from error
    paths = sorted(found.path for found in match.metadata_list)
    if not paths:
        message = (
            f"{source.path}: there is no such file; give a file, or a glob such as data/*.parquet"
        )
        raise SourceError(message)
    return paths


def check_files(paths: Sequence[str], source: Source, stream: Stream) -> None:
    """Open every file and check that it has the stream's columns.

    Raises
    ------
    SourceError
        Naming the file and the column, with the nearest column the file has.
    """
    wanted = [*stream.key, *stream.columns]
    if stream.time is not None:
        wanted.append(stream.time.column)
    for path in paths:
        with open_file(path) as file:
            names = read_schema(file, path, source)
        known = set(names)
        for name in wanted:
            if name not in known:
                message = (
                    f"{path}: has no column {name!r}{did_you_mean(name, names)}; "
                    f"its columns are {', '.join(map(repr, names[:20]))}{' …' * (len(names) > 20)}"
                )
                raise SourceError(message)


def first_rows(paths: Sequence[str], source: Source) -> dict[str, int]:
    """Return the position in the whole source of each file's first row."""
    positions, at = {}, 0
    for path in paths:
        positions[path] = at
        with open_file(path) as file:
            at += count_rows(file, path, source)
    return positions


def tally_table(tally: Tally) -> pa.Table:
    """Return the row counts of one file as a table, for `row_counts`."""
    return pa.table({"path": [tally.path], "rows": [tally.rows], "rejected": [tally.rejected]})


def row_counts(folder: Path) -> RowCounts:
    """Add up the tallies a graph wrote; nothing is late where the source has an end."""
    tallies = read_parts(folder)
    assert tallies is not None  # noqa: S101 (every file gives one)
    rows = pc.sum(tallies["rows"]).as_py()
    rejected = pc.sum(tallies["rejected"]).as_py()
    return {"in": rows, "used": rows - rejected, "rejected": rejected, "late": 0}
