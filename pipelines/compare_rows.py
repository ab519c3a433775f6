"""The rows that `compare-at` compares: of a table, or of a stream's source, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import SourceError, StreamFileError, did_you_mean
from schemas.kafka import Topic
from schemas.stream import Column, Stream
from transforms.infer import infer_columns
from transforms.tables import HEAD_ROWS, read_table
from transforms.timestamps import to_utc

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table or a stream, in memory."""

    name: str
    table: pa.Table
    times: NDArray[np.int64]  # shape (rows,), µs since 1970
    columns: dict[str, Column]  # all that can be chosen
    default: list[str]  # the numbers among them that are tested when none is chosen
    keys: tuple[str, ...]
    zone: str
    rejected: int
    notes: list[str]


def read_rows(source: str, time: str | None) -> Rows:
    """Read a table, or the source of a stream file.

    Raises
    ------
    StreamFileError
        When the stream has no files or no event time.
    SourceError
        When the rows cannot be read, or have no times.
    """
    is_stream = source.endswith((".yaml", ".yml"))
    rows = _stream_rows(source, time) if is_stream else _table_rows(source, time)
    if not len(rows.times):
        message = (
            f"{source}: no row is left, as {rows.rejected:,} have no time that can be read, or a "
            f"value that cannot be used; there is nothing to compare"
        )
        raise SourceError(message)
    return rows


def of_keys(rows: Rows, keys: Sequence[str]) -> Rows:
    """Return the rows of which each ``column=value`` is true.

    Raises
    ------
    StreamFileError
        When there is no such column, or no such row.
    """
    for key in keys:
        name, equals, value = key.partition("=")
        if not equals or name not in rows.columns:
            near = "" if name in rows.columns else did_you_mean(name, rows.columns)
            message = f"--key {key}: write COLUMN=VALUE with a column of {rows.name}{near}"
            raise StreamFileError(message)
        texts = rows.table[name].cast(pa.string())
        same = pc.fill_null(pc.equal(texts, value), False)
        if not pc.any(same).as_py():
            near = did_you_mean(value, texts.unique().drop_null().to_pylist()[:1000])
            message = f"--key {key}: no row has that value{near}"
            raise StreamFileError(message)
        rows = replace(rows, table=rows.table.filter(same), times=rows.times[same.to_numpy()])
    return rows


def is_number(column: Column) -> bool:
    """Tell whether a column holds numbers."""
    return column.type in ("number", "integer")


def _table_rows(path: str, time: str | None) -> Rows:
    table, rejects = read_table(path)
    known = infer_columns(table.slice(0, HEAD_ROWS), time)
    if known.time is None:
        message = f"{path}: no column holds times; name the event time with --time"
        raise SourceError(message)
    notes = []
    if time is None:
        notes.append(f"{known.time!r} {known.notes.get(known.time, 'is the event time')}")
    default = [n for n, c in known.columns.items() if is_number(c) and c.role != "ignore"]
    columns = {**known.columns, **{name: Column(type="category") for name in known.keys}}
    rows = Rows(path, table, _NONE, columns, default, known.keys, "UTC", rejects.num_rows, notes)
    return _timed(rows, to_utc(table[known.time], "UTC"))


def _stream_rows(path: str, time: str | None) -> Rows:
    from schemas.stream_file import load_stream

    stream = load_stream(path)
    if isinstance(stream.source, Topic):
        message = (
            f"{path}: the source is a topic, whose rows are not kept; "
            f"give a table of the rows around the time instead"
        )
        raise StreamFileError(message)
    if time is not None or stream.time is None:
        message = (
            f"--time {time}: the stream file says which column is the event time; leave it out"
            if time is not None
            else f"{path}: the stream has no event time; add `time: {{column: …}}`"
        )
        raise StreamFileError(message)
    table, rejected = _read_source(stream)
    default = [n for n in stream.with_role("feature") if is_number(stream.columns[n])]
    columns = {**stream.columns, **{name: Column(type="category") for name in stream.key}}
    zone, key = stream.time.zone, tuple(stream.key)
    rows = Rows(path, table, _NONE, columns, default, key, zone, rejected, [])
    return _timed(rows, table[stream.time.column])


def _read_source(stream: Stream) -> tuple[pa.Table, int]:
    from pipelines.sources import check_files, source_files
    from transforms.beam import open_file
    from transforms.contract import check_rows
    from transforms.decode import read_batches

    source = stream.source
    assert not isinstance(source, Topic)  # noqa: S101 (the caller has said so)
    assert stream.time is not None  # noqa: S101 (likewise)
    paths = source_files(source)
    check_files(paths, source, stream)
    wanted = [stream.time.column, *stream.key, *stream.columns]
    tables, rejected = [], 0
    for path in paths:
        with open_file(path) as file:
            for decoded in read_batches(file, path, source, wanted, stream.name):
                checked = check_rows(
                    decoded.batch, stream.columns, stream.time, stream.key, stream.name
                )
                tables.append(checked.batch.table)
                rejected += decoded.rejects.num_rows + checked.rejects.num_rows
    return pa.concat_tables(tables), rejected


def _timed(rows: Rows, times: pa.ChunkedArray) -> Rows:
    """Give the rows their times, and leave out those without one."""
    known = pc.is_valid(times)
    micros = times.filter(known).cast(pa.int64()).to_numpy()
    lost = len(times) - len(micros)
    table = rows.table.filter(known)
    return replace(rows, table=table, times=micros, rejected=rows.rejected + lost)
