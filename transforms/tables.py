"""Whole local tables, typed by inference: what `tidegauge check` compares and `init` looks at."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.errors import SourceError, did_you_mean
from schemas.records import Batch
from schemas.source import Source
from schemas.stream import Column
from transforms.contract import check_rows
from transforms.decode import Decoded, read_batches
from transforms.infer import infer_columns, infer_type
from transforms.rejects import ROW, reject_table

HEAD_ROWS = 100_000
_DELIMITERS = (",", "\t", ";", "|")


def read_table(
    path: str, stream_name: str = "check", columns: Mapping[str, Column] | None = None
) -> tuple[pa.Table, pa.Table]:
    """Return the rows of a local file, or of a glob of files in order of name, and the rejects.

    Columns have the types of `transforms.contract.check_rows`: those of `columns`, or guessed from
    all their values; columns that no declared type can hold (lists, structs, binary) are left out.
    Times that carry no zone are taken as UTC. Numbers of typed files are passed on without a copy:
    one pass per column looks for NaN, and only a column that has some is copied, with nulls in
    their place.

    Raises
    ------
    SourceError
        When there is no such file, or one of them cannot be read or lacks one of `columns`.
    """
    files: list[tuple[str, pa.Table]] = []
    rejects: list[pa.Table] = [reject_table([], stream_name, path)]
    wanted = None if columns is None else list(columns)
    for file, decoded in _each_batch(path, stream_name, 65_536, wanted):
        files.append((file, decoded.batch.table))
        rejects.append(decoded.rejects)
    whole = _stacked([table for _, table in files])
    columns = _guess_types(whole, path) if columns is None else columns
    # one check per file, over the stacked table's columns, since rejects name their file
    tables, first = [], 0
    for file in dict.fromkeys(file for file, _ in files):
        rows = sum(table.num_rows for name, table in files if name == file)
        batch = Batch(whole.slice(first, rows), file, 0)
        checked = check_rows(batch, columns, None, (), stream_name)
        tables.append(checked.batch.table.drop_columns([ROW]))
        rejects.append(checked.rejects)
        first += rows
    return pa.concat_tables(tables), pa.concat_tables(rejects)


def typed_table(
    data: Any,  # noqa: ANN401 (whatever speaks Arrow)
    columns: Mapping[str, Column] | None = None,
) -> tuple[pa.Table, dict[str, Column]]:
    """Return a Polars, pandas or Arrow table with the types of the contract, and its columns.

    Parameters
    ----------
    data : anything with the Arrow PyCapsule interface.
    columns : what the columns hold; guessed, with their roles, when left out.

    Raises
    ------
    SourceError
        When a column is missing, or a value is not of its column's type.
    """
    table = pa.table(data)
    known = infer_columns(table).columns if columns is None else dict(columns)
    for name in known:
        if name not in table.column_names:
            raise SourceError(
                f"the table has no column {name!r}{did_you_mean(name, table.column_names)}"
            )
    positions = pa.array(range(table.num_rows), pa.int64())
    batch = Batch(table.select(list(known)).append_column(ROW, positions), "the table", 0)
    checked = check_rows(batch, known, None, (), "table")
    if checked.rejects.num_rows:
        first = checked.rejects.slice(0, 1).to_pylist()[0]
        raise SourceError(
            f"the table: {checked.rejects.num_rows} rows cannot be used; row {first['row']}, "
            f"column {first['column']!r}: {first['detail']}"
        )
    return checked.batch.table.drop_columns([ROW]), known


def _guess_types(table: pa.Table, path: str) -> dict[str, Column]:
    columns = {
        name: Column(type=kind, role="ignore")
        for name in table.column_names
        if name != ROW and (kind := infer_type(table[name])) is not None
    }
    if not columns:
        raise SourceError(f"{path}: no column holds numbers, texts, booleans or times")
    return columns


def read_head(path: str, rows: int = HEAD_ROWS) -> pa.Table:
    """Return about the first rows of a local file or glob of files, as decoded, not typed yet.

    Raises
    ------
    SourceError
        When there is no such file, or it cannot be read.
    """
    tables: list[pa.Table] = []
    for _, decoded in _each_batch(path, "head", min(rows, 65_536), None):
        tables.append(decoded.batch.table.drop_columns([ROW]))
        if sum(table.num_rows for table in tables) >= rows:
            break
    return _stacked(tables).slice(0, rows)


def guess_source(path: str) -> Source:
    """Return the source of a path; the delimiter is the one most frequent in the first header."""
    source = Source(path=path)
    first = _files(path)[0]
    try:
        if source.format_of(first) != "csv":
            return source
    except ValueError as error:
        raise SourceError(str(error)) from error
    with Path(first).open("rb") as file:
        header = file.readline(1 << 20).decode("utf-8", errors="replace")
    return Source(path=path, delimiter=max(_DELIMITERS, key=header.count))


def _files(path: str) -> list[str]:
    if Path(path).is_dir():
        raise SourceError(f"{path}: is a folder; give a file, or a glob such as {path}/*.parquet")
    if Path(path).exists():
        return [path]
    matches = glob.glob(path, recursive=True)  # noqa: PTH207 (takes absolute patterns)
    found = sorted(name for name in matches if Path(name).is_file())
    if not found:
        what = "no file matches" if glob.has_magic(path) else "there is no such file"
        folder = Path(path).parent
        near = did_you_mean(Path(path).name, (p.name for p in folder.glob("*")))
        raise SourceError(f"{path}: {what}{near}; check the path")
    return found


def _each_batch(
    path: str, stream_name: str, rows: int, columns: list[str] | None
) -> Iterator[tuple[str, Decoded]]:
    source = guess_source(path)
    for name in _files(path):
        try:
            with Path(name).open("rb") as file:
                for decoded in read_batches(file, name, source, columns, stream_name, rows):
                    yield name, decoded
        except OSError as error:
            raise SourceError(f"{name}: cannot be opened: {error.strerror}") from error


def _stacked(tables: list[pa.Table]) -> pa.Table:
    """Return the tables as one; a column whose types do not go together becomes text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        pass
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            kinds.setdefault(field.name, set()).add(field.type)
    texts = {name for name, found in kinds.items() if len(found - {pa.null()}) > 1}
    tables = [
        table.cast(
            pa.schema(
                [pa.field(f.name, pa.string()) if f.name in texts else f for f in table.schema]
            )
        )
        for table in tables
    ]
    return pa.concat_tables(tables, promote_options="permissive")
