"""Values of messages to rows: JSON, Arrow IPC or Avro, those of many messages at once."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.kafka import Topic
from transforms import ipc
from transforms.json_lines import elements_of, read_objects

MAX_BYTES = 64 << 20  # of one message, as it came and as a table
MAX_ROWS = 1 << 20  # of one message
RAW_BYTES = 8_192  # of a message, kept in its reject


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows, the message of each by its place in the list, and their places within it."""

    table: pa.Table
    message: NDArray[np.int64]
    index: NDArray[np.int64] | None  #: None where each row is a message


@dataclass(frozen=True, slots=True)
class Bad:
    """A message that cannot be used, or one row of it."""

    message: int
    reason: str
    detail: str
    index: int | None = None
    raw: str | None = None  #: None for the message itself


Read = tuple[list[Rows], list[Bad]]


def reader_of(topic: Topic) -> Callable[[dict[int, bytes], list[str]], Read]:
    """Return what reads the values of a topic's messages: by place in a list, columns wanted."""
    if topic.format == "json":
        return _read_json
    if topic.format == "arrow":
        return _read_arrow
    return lambda values, names: _read_avro(values, names, topic.avro_schemas)


def _read_json(values: dict[int, bytes], names: list[str]) -> Read:
    """Read all objects at once, those of arrays too."""
    lines, message, index = list[bytes](), list[int](), list[int]()
    bad = list[Bad]()
    for at, value in values.items():
        if value[:1] == b"{" and b"\n" not in value:
            elements = [value]
        else:
            try:
                elements = elements_of(value)
            except ValueError as error:
                bad.append(Bad(at, "json", str(error)))
                continue
            if len(elements) > MAX_ROWS:
                bad.append(Bad(at, "oversized", f"{len(elements)} rows, {MAX_ROWS} at most"))
                continue
        several = value.lstrip()[:1] == b"["
        lines += elements
        message += [at] * len(elements)
        index += range(len(elements)) if several else (-1,)
    tables = []
    of, places = np.array(message, dtype=np.int64), np.array(index, dtype=np.int64)
    for table, found, rejects in read_objects(lines, names) if lines else ():
        for several in (False, True):
            rows = np.flatnonzero((places[found] >= 0) == several)
            if len(rows):
                part = table if len(rows) == len(found) else table.take(pa.array(rows))
                own = found[rows]
                tables.append(Rows(part, of[own], places[own] if several else None))
        for reject in rejects:
            at, place = message[reject.row], index[reject.row]
            if place < 0:
                bad.append(Bad(at, reject.reason, reject.detail))
            else:
                bad.append(Bad(at, reject.reason, reject.detail, place, reject.raw[:RAW_BYTES]))
    return tables, bad


@dataclass(frozen=True, slots=True)
class _Alike:
    """Arrow messages of one schema."""

    schema: pa.Schema
    dictionaries: list[int]
    batches: list[pa.RecordBatch] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  #: rows of each message

    def add(self, at: int, batches: list[pa.RecordBatch]) -> None:
        """Add a message; an OverflowError tells that it is too big."""
        if self.dictionaries and ipc.decoded_size(batches, self.dictionaries) > MAX_BYTES:
            raise OverflowError(f"more than {MAX_BYTES} bytes without its dictionaries")
        self.batches.extend(batches)
        self.messages.append(at)
        self.sizes.append(sum(batch.num_rows for batch in batches))

    def rows(self, names: list[str]) -> Rows:
        """Return the rows; a ValueError tells what is wrong with the schema."""
        table = ipc.to_table(self.schema, self.batches, names)
        for name in set(names) - set(table.column_names):
            table = table.append_column(name, pa.nulls(table.num_rows))
        index = [np.arange(size) for size in self.sizes]
        return Rows(table, np.repeat(self.messages, self.sizes), np.concatenate(index))


def _read_arrow(values: dict[int, bytes], names: list[str]) -> Read:
    """Read messages one by one, and join those of one schema."""
    groups, tables, bad = list[_Alike](), list[Rows](), list[Bad]()
    for at, value in values.items():
        try:
            schema, batches = ipc.read_stream(value, MAX_ROWS, MAX_BYTES)
            alike = next((group for group in groups if group.schema.equals(schema)), None)
            if alike is None:
                alike = _Alike(schema, ipc.text_dictionaries(schema))
                groups.append(alike)
            alike.add(at, batches)
        except OverflowError as error:
            bad.append(Bad(at, "oversized", str(error)))
        except ValueError as error:
            bad.append(Bad(at, "arrow", str(error)))
    for group in groups:
        try:
            tables += [group.rows(names)] if group.messages else []
        except ValueError as error:  # in its schema, and so in each
            bad += [Bad(at, "arrow", str(error)) for at in group.messages]
    return tables, bad


def _read_avro(values: dict[int, bytes], names: list[str], files: tuple[str, ...]) -> Read:
    from transforms import avro

    schemas = avro.load_schemas(files)
    bad, single = list[Bad](), list[tuple[int, int, avro.Row]]()
    several: list[tuple[int, int, avro.Row]] = []
    for at, value in values.items():
        try:
            rows, container = avro.read_rows(value, schemas, MAX_ROWS)
        except ValueError as error:
            bad.append(Bad(at, "avro", str(error)))
            continue
        if len(rows) > MAX_ROWS:
            bad.append(Bad(at, "oversized", f"more than {MAX_ROWS} rows"))
            continue
        (several if container else single).extend((at, i, row) for i, row in enumerate(rows))
    tables = []
    for group in (single, several):
        if group:
            table = avro.rows_to_table([row for _, _, row in group], names)
            where = np.array([at for at, _, _ in group], dtype=np.int64)
            index = np.array([i for _, i, _ in group], dtype=np.int64)
            tables.append(Rows(table, where, index if group is several else None))
    return tables, bad


def as_text(value: bytes) -> str:
    """Return the beginning of bytes as text, in base 64 where they are no UTF-8."""
    head = value[:RAW_BYTES]
    try:
        return codecs.utf_8_decode(head, "strict", len(head) == len(value))[0]
    except UnicodeDecodeError:
        return base64.b64encode(head).decode()
