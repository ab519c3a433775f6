"""Arrow IPC streams from other processes, read without trust."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from transforms.timestamps import is_text

_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)


def read_stream(
    value: bytes, most_rows: int, most_bytes: int
) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """Return the schema and the batches of an IPC stream, validated.

    Raises
    ------
    OverflowError
        When it holds more rows, or more bytes once it is decompressed.
    ValueError
        When it is no such stream, saying why.
    """
    batches = list[pa.RecordBatch]()
    rows = size = 0
    try:
        with pa.ipc.open_stream(value, options=_OPTIONS) as reader:
            for batch in reader:
                batch.validate(full=True)  # a damaged one may point beyond its buffers
                rows += batch.num_rows
                size += batch.get_total_buffer_size()
                if rows > most_rows or size > most_bytes:
                    break
                batches.append(batch)
            schema = reader.schema
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    if rows > most_rows:
        raise OverflowError(f"more than {most_rows} rows")
    if size > most_bytes:
        raise OverflowError(f"{size} bytes as a table, {most_bytes} at most")
    return schema, batches


def text_dictionaries(schema: pa.Schema) -> list[int]:
    """Return which columns are texts in dictionaries, small as they come, without bound decoded."""
    return [
        at
        for at, field in enumerate(schema)
        if pa.types.is_dictionary(field.type) and is_text(field.type.value_type)
    ]


def decoded_size(batches: Sequence[pa.RecordBatch], columns: Sequence[int]) -> int:
    """Return the bytes of columns of texts without their dictionaries."""
    parts = [batch.column(at) for batch in batches for at in columns]
    sizes = (pc.binary_length(part.dictionary).take(part.indices) for part in parts)
    return sum(pc.sum(size.cast(pa.int64())).as_py() or 0 for size in sizes)


def to_table(
    schema: pa.Schema, batches: Sequence[pa.RecordBatch], names: Sequence[str]
) -> pa.Table:
    """Return batches of one schema as one table: those of the named columns that there are.

    Raises
    ------
    ValueError
        When two columns have a name asked for, or a dictionary's values cannot be had as a column.
    """
    own = schema.names
    for name in names:
        if own.count(name) > 1:
            raise ValueError(f"two columns are called {name!r}")
    table = pa.Table.from_batches(batches, schema).select([name for name in names if name in own])
    table = table.replace_schema_metadata()
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) or pa.types.is_string_view(field.type):
            kind = getattr(field.type, "value_type", pa.string())
            table = table.set_column(at, field.name, table.column(at).cast(kind))
    return table.combine_chunks() if len(batches) > 1 else table
