"""Files to Arrow tables: Parquet, CSV, Arrow IPC and JSON Lines, in batches of bounded size."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.errors import SourceError, did_you_mean
from schemas.records import Batch
from schemas.source import FileFormat, Source
from transforms.json_lines import count_lines, keys_of, read_lines
from transforms.rejects import ROW, Reject, reject_table

CSV_BLOCK = 4 << 20  # bytes parsed at a time; also the longest row
PARQUET_BUFFER = 1 << 20  # bytes read ahead per column, instead of whole column chunks

#: What one decoder yields: columns, positions of their rows in the file, and rows it cannot use.
_Part = tuple[pa.Table, np.ndarray, list[Reject]]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Some rows of a file, and the rows among them that could not be read (schema `REJECT`)."""

    batch: Batch
    rejects: pa.Table


def read_batches(
    file: BinaryIO,
    path: str,
    source: Source,
    columns: Sequence[str] | None,
    stream_name: str,
    rows_per_batch: int = 65_536,
) -> Iterator[Decoded]:
    """Yield the rows of one file.

    Each table has the wanted columns in the order asked for, and `ROW`. Parquet and Arrow values
    keep their types, dictionaries decoded. CSV values are strings. JSON values are numbers,
    booleans or strings, by what most of a column's first values are; rows that do not fit come in
    a batch of their own, with strings where they do not. Nested JSON values are JSON text.

    Parameters
    ----------
    file
        Seekable binary file, from any file system.
    columns
        The columns wanted; None for all (of JSON Lines: the keys within the first 4 MiB).

    Raises
    ------
    SourceError
        When the file is empty, damaged, of another format, or has not the wanted columns.
    """
    kind = _format(source, path)
    any_row = False
    try:
        _require_bytes(file, path)
        if kind == "jsonl" and columns is not None:
            names = list(columns)  # a key may first appear anywhere
        else:
            names = _wanted(_names(file, source, kind), columns, path)
        for table, positions, rejects in _parts(file, path, source, kind, names, rows_per_batch):
            any_row = any_row or bool(table.num_rows or rejects)
            bad = reject_table(rejects, stream_name, path)
            for piece in _pieces(table.append_column(ROW, pa.array(positions)), rows_per_batch):
                first = piece[ROW][0].as_py() if piece.num_rows else 0
                yield Decoded(Batch(piece, path, first), bad)
                bad = bad.slice(0, 0)  # once
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, kind, error) from error
    if not any_row:
        message = f"{path}: the file holds no rows; remove it from the source, or write it again"
        raise SourceError(message)


def read_schema(file: BinaryIO, path: str, source: Source) -> list[str]:
    """Return the names of the columns of one file (of JSON Lines: the keys of its first 4 MiB).

    Raises
    ------
    SourceError
        When the file is empty, damaged or of another format.
    """
    kind = _format(source, path)
    try:
        _require_bytes(file, path)
        return _names(file, source, kind)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, kind, error) from error


def count_rows(file: BinaryIO, path: str, source: Source) -> int:
    """Return the number of data rows of one file, those that cannot be used included.

    Raises
    ------
    SourceError
        When the file is empty, damaged or of another format.
    """
    kind = _format(source, path)
    try:
        _require_bytes(file, path)
        if kind == "parquet":
            import pyarrow.parquet as pq

            return int(pq.ParquetFile(file).metadata.num_rows)
        if kind == "jsonl":
            return count_lines(file)
        names = _names(file, source, kind)[:1]
        parts = _parts(file, path, source, kind, names, 65_536)
        return sum(table.num_rows + len(rejects) for table, _, rejects in parts)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, kind, error) from error


def _format(source: Source, path: str) -> FileFormat:
    try:
        return source.format_of(path)
    except ValueError as error:
        raise SourceError(str(error)) from error


def _require_bytes(file: BinaryIO, path: str) -> None:
    file.seek(0)
    if not file.read(1):
        raise SourceError(
            f"{path}: the file is empty; remove it from the source, or write it again"
        )
    file.seek(0)


def _unreadable(path: str, kind: FileFormat, error: Exception) -> SourceError:
    what = str(error).rstrip(".").replace("\n", " ")
    if "UTF" in what.upper():
        return SourceError(f"{path}: is not UTF-8 text ({what}); convert it to UTF-8")
    return SourceError(
        f"{path}: cannot be read as {kind}: {what}; "
        f"check that the file is complete and that `format:` and `delimiter:` are right"
    )


def _wanted(names: Sequence[str], columns: Sequence[str] | None, path: str) -> list[str]:
    wanted = list(names if columns is None else columns)
    for name in wanted:
        if name not in names:
            has = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
            raise SourceError(
                f"{path}: there is no column {name!r}{did_you_mean(name, names)}; "
                f"name one that it has ({has}), or leave {name!r} out"
            )
        if names.count(name) > 1:
            raise SourceError(f"{path}: two columns are called {name!r}; rename one of them")
        if name == ROW:
            raise SourceError(f"{path}: the column name {ROW!r} is taken; rename that column")
    return wanted


def _pieces(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Cut a table into equal pieces of at most so many rows; an empty table is one piece."""
    count = max(1, -(-table.num_rows // rows))
    step = max(1, -(-table.num_rows // count))
    for start in range(0, max(1, table.num_rows), step):
        yield table.slice(start, step)


def _names(file: BinaryIO, source: Source, kind: FileFormat) -> list[str]:
    """Return the column names, and leave the file at its start."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        names = pq.ParquetFile(file).schema_arrow.names
    elif kind == "csv":
        names = _csv_names(file, source)
    elif kind == "arrow":
        names = _open_arrow(file, None)[0].names
    else:
        names = keys_of(file)
    file.seek(0)
    return list(names)


def _parts(
    file: BinaryIO, path: str, source: Source, kind: FileFormat, names: list[str], rows: int
) -> Iterator[_Part]:
    if kind == "csv":
        return _csv(file, source, names)
    if kind == "jsonl":
        return read_lines(file, path, names)
    batches = _parquet(file, names, rows) if kind == "parquet" else _arrow(file, names, rows)
    return _counted(batches)


def _counted(batches: Iterable[pa.Table]) -> Iterator[_Part]:
    first = 0
    for table in batches:
        yield _plain(table), np.arange(first, first + table.num_rows), []
        first += table.num_rows


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with its dictionary columns decoded."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            values = table.column(index).cast(field.type.value_type)
            table = table.set_column(index, field.name, values)
    return table


def _parquet(file: BinaryIO, names: list[str], rows: int) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    # reading ahead would hold the whole file, and its threads may outlive the interpreter
    parquet = pq.ParquetFile(file, buffer_size=PARQUET_BUFFER, pre_buffer=False)
    for batch in parquet.iter_batches(batch_size=rows, columns=names, use_threads=False):
        yield pa.Table.from_batches([batch])


def _open_arrow(
    file: BinaryIO, names: list[str] | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open either Arrow format; a file starts with a magic word, a stream does not."""
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    opener = pa.ipc.open_file if is_file else pa.ipc.open_stream
    schema = opener(file).schema
    if names is None:
        return schema, iter(())
    file.seek(0)
    fields = [schema.get_field_index(name) for name in names]
    reader = opener(file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False))
    if is_file:
        return schema, (reader.get_batch(index) for index in range(reader.num_record_batches))
    return schema, iter(reader)


def _arrow(file: BinaryIO, names: list[str], rows: int) -> Iterator[pa.Table]:
    """Yield tables of about so many rows: record batches may be tiny."""
    held: list[pa.RecordBatch] = []
    for batch in _open_arrow(file, names)[1]:
        held.append(batch)
        if sum(part.num_rows for part in held) >= rows:
            yield pa.Table.from_batches(held).select(names)
            held = []
    if held:
        yield pa.Table.from_batches(held).select(names)


class _Utf8(io.RawIOBase):
    """A file that fails where it is no text, before Arrow prints what it cannot decode."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        if b"\0" in data:
            raise pa.ArrowInvalid("it holds NUL bytes, as binary files and UTF-16 text do")
        self._decoder.decode(data, final=not data)
        return data


def _csv_names(file: BinaryIO, source: Source) -> list[str]:
    try:  # opening guesses the types of a whole block, for nothing here
        return list(_open_csv(file, source, None, [], 64 << 10).schema.names)
    except pa.ArrowInvalid:  # perhaps a row is longer than that
        file.seek(0)
        return list(_open_csv(file, source, None, [], CSV_BLOCK).schema.names)


def _open_csv(
    file: BinaryIO,
    source: Source,
    names: list[str] | None,
    ragged: list[Reject],
    block: int,
) -> pa.RecordBatchReader:
    from pyarrow import csv

    def keep(bad: csv.InvalidRow) -> str:
        detail = f"{bad.actual_columns} fields instead of {bad.expected_columns}"
        # rows are numbered from 1, and the header is one of them
        ragged.append(Reject(bad.number - 2, "ragged", None, detail, bad.text))
        return "skip"

    convert = csv.ConvertOptions(
        check_utf8=False,  # `_Utf8` does
        null_values=list(source.null_values),
        strings_can_be_null=True,
        column_types={name: pa.string() for name in names or ()},
        include_columns=names,
    )
    return csv.open_csv(
        _Utf8(file),
        read_options=csv.ReadOptions(use_threads=False, block_size=block),
        parse_options=csv.ParseOptions(
            delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=keep
        ),
        convert_options=convert,
    )


def _csv(file: BinaryIO, source: Source, names: list[str]) -> Iterator[_Part]:
    ragged: list[Reject] = []  # filled while a block is parsed, which may be ahead of its batch
    first = 0
    for batch in _open_csv(file, source, names, ragged, CSV_BLOCK):
        bad = np.array([reject.row for reject in ragged], dtype=np.int64)
        around = np.arange(first, first + batch.num_rows + len(bad))
        positions = np.setdiff1d(around, bad, assume_unique=True)[: batch.num_rows]
        first = int(positions[-1]) + 1 if len(positions) else first
        now = [reject for reject in ragged if reject.row < first]
        del ragged[: len(now)]
        yield pa.Table.from_batches([batch]), positions, now
    if ragged:
        empty = pa.table({name: pa.array([], pa.string()) for name in names})
        yield empty, np.array([], dtype=np.int64), ragged
