"""Finds the files of a source, and says early and in one sentence what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
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
    return list(list_files(source))


def list_files(source: Source, *, none_yet: bool = False) -> dict[str, list[float]]:
    """Return the files of a source, sorted by name, with size in bytes and time of last change.

    Parameters
    ----------
    none_yet : that there is none, or none any more, is no error.

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
    found = {
        item.path: [float(item.size_in_bytes), float(item.last_updated_in_seconds)]
        for item in sorted(match.metadata_list, key=lambda item: item.path)
    }
    if not found and not none_yet:
        message = (
            f"{source.path}: there is no such file; give a file, or a glob such as data/*.parquet"
        )
        raise SourceError(message)
    return found


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
    """Return a tally as a row, for `read_tallies`."""
    return pa.Table.from_pylist([asdict(tally)], _TALLY)


def read_tallies(folder: Path) -> list[Tally]:
    """Return the tallies that a graph wrote."""
    tallies = read_parts(folder)
    return [] if tallies is None else [Tally(**row) for row in tallies.to_pylist()]


def row_counts(tallies: Iterable[Tally]) -> RowCounts:
    """Add up tallies."""
    tallies = list(tallies)
    rows, rejected, late = (
        sum(getattr(tally, name) for tally in tallies) for name in ("rows", "rejected", "late")
    )
    return {"in": rows, "used": rows - rejected - late, "rejected": rejected, "late": late}


_TALLY = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("late", pa.int64()),
        pa.field("latest", pa.int64()),
    ]
)
