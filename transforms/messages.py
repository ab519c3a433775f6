"""Messages of a topic to checked Arrow tables: one that cannot be read never loses its neighbours.

A row that fills a message alone has the path ``topic/partition``, and the message's offset in
`ROW`. Rows of a message that may hold several have the path ``topic/partition@`` and both numbers
in `ROW`, ``offset * MAX_ROWS + index``, so that the rows of many messages travel as one table;
`placed` turns these into ``topic/partition@offset`` and the index.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.kafka import Topic
from schemas.records import REJECT, Batch
from schemas.stream import Stream
from transforms.contract import Checked, can_hold, check_rows
from transforms.decode import Decoded
from transforms.lateness import without_future
from transforms.message_values import MAX_BYTES, MAX_ROWS, RAW_BYTES, Bad, as_text, reader_of
from transforms.rejects import ROW, Reject, reject_table

ROWS_PER_BATCH = 65_536
_SEVERAL = "@"  # ends the path of rows whose messages may hold several


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic."""

    partition: int
    offset: int
    timestamp_ms: int | None  #: of the message, in ms since 1970
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The rows of messages that keep the contract, and the others (schema `REJECT`)."""

    batches: list[Batch]
    rejects: pa.Table


def take_in(messages: Sequence[Message], topic: Topic, stream: Stream) -> TakenIn:
    """Decode and check messages of one partition; their rows stay in its order.

    See `decode_messages` and `check_messages`.
    """
    assert stream.time is not None  # noqa: S101 (a topic needs it)
    wanted = [stream.time.column, *stream.key, *stream.columns]
    parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
    rejects = [reject_table([], stream.name, "")]
    for decoded in decode_messages(messages, topic, wanted, stream.name):
        for checked in check_messages(decoded, stream):
            rejects.append(checked.rejects)
            if checked.batch.table.num_rows:
                parts[checked.batch.path].append(checked.batch.table)
    if len(parts) == 1 and _in_order(*parts.values()):
        pieces = [(path, table) for path, own in parts.items() for table in own]
    else:
        tables = {path: pa.concat_tables(own).sort_by(ROW) for path, own in parts.items()}
        pieces = list(_runs({path: table.combine_chunks() for path, table in tables.items()}))
    batches = [
        Batch(table.slice(start, ROWS_PER_BATCH), path, table[ROW][start].as_py())
        for path, table in pieces
        for start in range(0, table.num_rows, ROWS_PER_BATCH)
    ]
    return TakenIn(batches, pa.concat_tables(rejects))


def _in_order(tables: Sequence[pa.Table]) -> bool:
    places = [table[ROW].to_numpy() for table in tables]
    ends = [own[[0, -1]] for own in places]
    return all(bool((own[:-1] <= own[1:]).all()) for own in (*places, np.concatenate(ends)))


def _runs(tables: dict[str, pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of tables in order of offsets, as slices of them."""
    if not tables:
        return
    paths = list(tables)
    offsets = [
        tables[path][ROW].to_numpy() // (MAX_ROWS if path.endswith(_SEVERAL) else 1)
        for path in paths
    ]
    kind = np.repeat(np.arange(len(paths)), [len(own) for own in offsets])
    kind = kind[np.argsort(np.concatenate(offsets), kind="stable")]
    bounds = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), len(kind)]
    done = dict.fromkeys(paths, 0)
    for start, stop in pairwise(bounds):
        path = paths[kind[start]]
        yield path, tables[path].slice(done[path], stop - start)
        done[path] += stop - start


def decode_messages(
    messages: Sequence[Message], topic: Topic, columns: Sequence[str], stream_name: str
) -> Iterator[Decoded]:
    """Yield the rows of messages, and the messages that cannot be used as rejects.

    Each table has the wanted columns in the order asked for, and `ROW`; those of `topic.envelope`
    come from beside the value, a column that a message lacks is null, others are left behind.
    A message that cannot be used is one row. Reasons: ``tombstone`` (no value), ``oversized``
    (beyond `MAX_BYTES` or `MAX_ROWS`), ``envelope`` (a key or header that is no UTF-8 text),
    and ``json``, ``arrow`` or ``avro`` (not of that format).

    Raises
    ------
    SourceError
        When a file of `topic.avro_schemas` cannot be used.
    """
    partitions: defaultdict[int, list[Message]] = defaultdict(list)
    for message in messages:
        partitions[message.partition].append(message)
    for partition, own in sorted(partitions.items()):
        yield from _decode(own, f"{topic.topic}/{partition}", topic, columns, stream_name)


def check_messages(decoded: Decoded, stream: Stream) -> Iterator[Checked]:
    """Yield decoded rows cast to the declared types; the rejects are those of decoding, too.

    Unlike a file, a message with a column of quite another type rejects its rows, not the stream.
    See `transforms.contract.check_rows`.
    """
    batch = decoded.batch
    table = batch.table
    declared = {name: column.type for name, column in stream.columns.items()}
    declared |= dict.fromkeys(stream.key, "category")
    if stream.time is not None:
        declared[stream.time.column] = "timestamp"
    for name, wanted in declared.items():
        at = table.schema.get_field_index(name)
        if not can_hold(table.schema.field(at).type, wanted):
            table = table.set_column(at, name, _spelt(table.column(at)))
    first = True
    for checked in _check(Batch(table, batch.path, batch.first_row), stream):
        batch, rejects = checked.batch, checked.rejects
        if stream.time is not None:
            batch, future = without_future(batch, stream.time.column, stream.name, time.time())
            rejects = pa.concat_tables([rejects, future])
        rejects = placed(rejects)
        at = REJECT.get_field_index("raw")
        raw = pc.utf8_slice_codeunits(rejects["raw"], 0, RAW_BYTES)
        rejects = rejects.set_column(at, REJECT.field("raw"), raw)
        if first:
            rejects = pa.concat_tables([decoded.rejects, rejects])
        first = False
        yield Checked(batch, rejects)


def placed(records: pa.Table) -> pa.Table:
    """Return records with the columns `path` and `row` saying ``topic/partition@offset``, index."""
    several = pc.ends_with(records["path"], _SEVERAL)
    if not pc.any(several).as_py():
        return records
    offset = pc.shift_right(records["row"], MAX_ROWS.bit_length() - 1)
    path = pc.binary_join_element_wise(records["path"], offset.cast(pa.string()), "")
    index = pc.bit_wise_and(records["row"], MAX_ROWS - 1)
    for name, values in (("path", path), ("row", index)):
        at = records.schema.get_field_index(name)
        new = pc.if_else(several, values, records[name])
        records = records.set_column(at, records.schema.field(at), new)
    return records


def _check(batch: Batch, stream: Stream) -> Iterator[Checked]:
    try:
        yield check_rows(batch, stream.columns, stream.time, stream.key, stream.name)
    except pa.ArrowException as error:  # a value that Arrow cannot cast at all: look for its row
        rows = batch.table.num_rows
        if rows > 1:
            for start, stop in ((0, rows // 2), (rows // 2, rows)):
                part = batch.table.slice(start, stop - start)
                yield from _check(Batch(part, batch.path, part[ROW][0].as_py()), stream)
            return
        raw = json.dumps(batch.table.drop_columns([ROW]).to_pylist()[0], default=str)
        says = str(error).partition("\n")[0]
        reject = Reject(batch.table[ROW][0].as_py(), "type", None, says, raw)
        none = Batch(batch.table.slice(0, 0), batch.path, 0)
        yield Checked(none, reject_table([reject], stream.name, batch.path))


def _decode(
    messages: Sequence[Message],
    path: str,
    topic: Topic,
    columns: Sequence[str],
    stream_name: str,
) -> Iterator[Decoded]:
    beside, bad = _envelopes(messages, topic, columns)
    for at, message in enumerate(messages):
        if message.value is None:
            bad[at] = Bad(at, "tombstone", "the message has no value", raw="")
        elif len(message.value) > MAX_BYTES:
            bad[at] = Bad(at, "oversized", f"{len(message.value)} bytes, {MAX_BYTES} at most")
    values = {at: m.value for at, m in enumerate(messages) if at not in bad and m.value is not None}
    inside = [name for name in columns if name not in beside]
    tables, faults = reader_of(topic)(values, inside)
    rejects = _rejects([*bad.values(), *faults], messages, stream_name, path)
    offsets = np.array([message.offset for message in messages], dtype=np.int64)
    for rows in tables:
        of = pa.array(rows.message)
        own = {n: beside[n].take(of) if n in beside else rows.table[n] for n in columns}
        places = offsets[rows.message]
        if rows.index is not None:
            places = places * MAX_ROWS + rows.index
        where = path if rows.index is None else path + _SEVERAL
        table = pa.table({**own, ROW: places})
        for start in range(0, table.num_rows, ROWS_PER_BATCH):
            piece = Batch(table.slice(start, ROWS_PER_BATCH), where, int(places[start]))
            yield Decoded(piece, rejects)
            rejects = rejects.slice(0, 0)  # once
    if rejects.num_rows:
        empty = pa.table({name: pa.nulls(0) for name in columns})
        empty = empty.append_column(ROW, pa.array([], pa.int64()))
        yield Decoded(Batch(empty, path, 0), rejects)


def _envelopes(
    messages: Sequence[Message], topic: Topic, columns: Sequence[str]
) -> tuple[dict[str, pa.Array], dict[int, Bad]]:
    """Return the columns that the envelopes fill, and the messages whose envelope is no text."""
    envelope = topic.envelope
    filled: dict[str, pa.Array] = {}
    bad: dict[int, Bad] = {}

    def fill(name: str, part: str, values: Sequence[bytes | None]) -> None:
        texts: list[str | None] = []
        for at, value in enumerate(values):
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(None)
                bad[at] = Bad(at, "envelope", f"{part} is no UTF-8 text: {as_text(value or b'')}")
        filled[name] = pa.array(texts, pa.string())

    for name, header in envelope.headers.items():
        if name in columns:
            last = [dict(message.headers).get(header) for message in messages]
            fill(name, f"the header {header!r}", last)
    if envelope.key in columns and envelope.key is not None:
        fill(envelope.key, "the key", [message.key for message in messages])
    if envelope.timestamp in columns and envelope.timestamp is not None:
        times = pa.array([message.timestamp_ms for message in messages], pa.int64())
        filled[envelope.timestamp] = times.cast(pa.timestamp("ms", tz="UTC"))
    return filled, bad


def _rejects(
    bad: Sequence[Bad], messages: Sequence[Message], stream_name: str, path: str
) -> pa.Table:
    tables = [reject_table([], stream_name, path)]
    for fault in bad:
        message = messages[fault.message]
        raw = as_text(message.value or b"") if fault.raw is None else fault.raw
        if fault.index is None:
            where, row = path, message.offset
        else:
            where, row = f"{path}{_SEVERAL}{message.offset}", fault.index
        reject = Reject(row, fault.reason, None, fault.detail, raw)
        tables.append(reject_table([reject], stream_name, where))
    return pa.concat_tables(tables)


def _spelt(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values that no declared type can hold as texts, to be rejected row by row."""
    try:
        return values.cast(pa.string())
    except pa.ArrowException:  # nested, or bytes
        texts = [str(value) if value.is_valid else None for value in values]
        return pa.chunked_array([pa.array(texts, pa.string())])
