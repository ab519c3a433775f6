"""Sends the rows of a table to a stream's topic in order of event time, as fast as one likes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.kafka.sink import Publisher, json_lines
from schemas.errors import SourceError
from schemas.kafka import Topic
from schemas.source import Source
from schemas.stream import Stream
from transforms.beam import open_file
from transforms.decode import read_batches
from transforms.rejects import ROW
from transforms.timestamps import to_utc

ROWS_PER_MESSAGE = 1_000  # of an Arrow message, at most
_BEAT = 0.2  # seconds of real time that are sent at once


def parse_speed(text: str) -> float | None:
    """Return how many times as fast as it happened; None for as fast as possible.

    Raises
    ------
    SourceError
        When the text is neither such as ``60x`` nor ``max``.
    """
    if text == "max":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)x", text)
    if found is None or float(found[1]) == 0:
        raise SourceError(f"{text!r} is not a speed: write 60x for an hour in a minute, or max")
    return float(found[1])


def replay(
    table: str, stream: Stream, speed: float | None, say: Callable[[str], None] = lambda _: None
) -> int:
    """Send the rows of a file to the stream's topic, and return how many.

    Values go as they are in the file. A message has one row; an Arrow message has more, unless the
    topic's envelope fills columns. Rows of one key go to one partition, but in Arrow messages.

    Parameters
    ----------
    table : a file of one of the formats that a source may have.
    speed : how many times as fast as the event times say; None for as fast as possible.
    say : takes lines about the progress, one a second.

    Raises
    ------
    SourceError
        When the file cannot be read, or the stream has no topic that rows can be written to.
    OutputError
        When the topic cannot be written.
    """
    topic = stream.source
    if not isinstance(topic, Topic):
        raise SourceError(f"stream {stream.name!r}: its source is no topic; give `source: topic:`")
    if topic.format == "avro":
        raise SourceError(f"topic {topic.topic!r}: Avro is not written; give json or arrow")
    rows, times = _in_order(table, stream)
    publisher = Publisher(topic)
    begun = told = time.monotonic()
    sent = 0
    for stop in _stops(times, speed, _rows_per_message(topic)):
        if speed is not None:
            due = begun + float(times[stop - 1] - times[0]) / 1e6 / speed
            time.sleep(max(0.0, due - time.monotonic()))
        _send(publisher, topic, stream, rows.slice(sent, stop - sent), times[sent:stop])
        sent = stop
        if time.monotonic() - told >= 1 or sent == len(times):
            told = time.monotonic()
            at = datetime.fromtimestamp(times[sent - 1] / 1e6, tz=UTC)
            say(f"{sent:,} of {len(times):,} rows, event time {at:%Y-%m-%d %H:%M:%S} UTC")
    publisher.flush()
    return sent


def _in_order(table: str, stream: Stream) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the rows in order of event time, those without one first, and their times in µs."""
    assert stream.time is not None  # noqa: S101 (a topic needs it)
    wanted = [stream.time.column, *stream.key, *stream.columns]
    with open_file(table) as file:
        parts = [
            decoded.batch.table.drop_columns([ROW])
            for decoded in read_batches(file, table, Source(path=table), wanted, stream.name)
        ]
    rows = pa.concat_tables(parts, promote_options="permissive")
    known = to_utc(rows[stream.time.column], stream.time.zone).cast(pa.int64())
    first = pl.Series(known).min()
    times = known.fill_null(0 if first is None else first).to_numpy()
    order = np.argsort(times, kind="stable")
    return rows.take(pa.array(order)), times[order]


def _rows_per_message(topic: Topic) -> int:
    envelope = topic.envelope
    alone = envelope.key or envelope.timestamp or envelope.headers
    return ROWS_PER_MESSAGE if topic.format == "json" or not alone else 1


def _stops(times: NDArray[np.int64], speed: float | None, most: int) -> Iterator[int]:
    """Yield where to cut the rows: what is sent at once is of a moment, and not too much."""
    start = 0
    while start < len(times):
        stop = start + most
        if speed is not None:
            until = int(times[start]) + round(speed * _BEAT * 1e6)
            stop = min(stop, int(np.searchsorted(times, until, side="right")))
        start = min(stop, len(times))
        yield start


def _send(
    publisher: Publisher, topic: Topic, stream: Stream, rows: pa.Table, times: NDArray[np.int64]
) -> None:
    """Send rows: as one Arrow message, or each as JSON."""
    envelope = topic.envelope
    beside = {*envelope.headers, envelope.key, envelope.timestamp}
    inside = rows.select([name for name in rows.column_names if name not in beside])
    if topic.format == "arrow" and len(rows) > 1:
        publisher.send(topic.topic, _as_arrow(inside))
        return
    names = list(stream.key) if envelope.key is None else [envelope.key]
    keys, headers = _records(rows, names), _records(rows, list(envelope.headers))
    if topic.format == "arrow":
        values = [_as_arrow(inside.slice(at, 1)) for at in range(len(rows))]
    else:
        values = json_lines(inside) if inside.num_columns else [b"{}"] * len(rows)
    for at, value in enumerate(values):
        more = {
            envelope.headers[name]: str(header).encode()
            for name, header in headers[at].items()
            if header is not None
        }
        publisher.send(
            topic.topic,
            value,
            _key(keys[at], envelope.key),
            headers=more,
            **({"timestamp": int(times[at]) // 1000} if envelope.timestamp else {}),
        )


def _records(rows: pa.Table, names: list[str]) -> list[dict[str, object]]:
    return rows.select(names).to_pylist() if names else [{} for _ in range(len(rows))]


def _key(values: dict[str, object], column: str | None) -> bytes | None:
    if column is None:
        return json.dumps(values, default=str).encode() if values else None
    return None if values[column] is None else str(values[column]).encode()


def _as_arrow(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows.combine_chunks())
    return bytes(sink.getvalue())
