"""Rows of twenty columns for a topic, and what was told of them: for the streaming benchmarks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from confluent_kafka import Consumer, Producer, TopicPartition

COLUMNS = tuple(f"x{number:02}" for number in range(20))
SITES = ("a", "b", "c", "d")
WINDOW = 600  # seconds of event time; a row per site and second
START = 1_790_000_400  # a whole window since 1970
_MOVED = "x07"


def rows_of(windows: int, *, seed: int, moved: Iterable[int] = ()) -> pl.DataFrame:
    """Return rows of all sites in order of time; in some windows, one column of site b is mixed."""
    rng = np.random.default_rng(seed)
    seconds = windows * WINDOW
    loadings = np.random.default_rng(0).normal(size=(4, len(COLUMNS)))
    first = START + seed * 10**6 // WINDOW * WINDOW
    tables = []
    for site in SITES:
        values = rng.normal(size=(seconds, 4)) @ loadings + rng.normal(size=(seconds, len(COLUMNS)))
        own = pl.DataFrame(np.round(values, 4), schema=list(COLUMNS))
        if site == "b":
            for window in moved:
                at = slice(window * WINDOW, (window + 1) * WINDOW)
                mixed = own[_MOVED].to_numpy().copy()
                mixed[at] = rng.permutation(mixed[at])
                own = own.with_columns(pl.Series(_MOVED, mixed))
        times = pl.Series("time", (first + np.arange(seconds)) * 1_000_000)
        tables.append(
            own.insert_column(0, times.cast(pl.Datetime("us", "UTC"))).insert_column(
                1, pl.Series("site", [site] * seconds)
            )
        )
    return pl.concat(tables).sort("time", maintain_order=True)


def stream_file(folder: Path, **changes: object) -> Path:
    """Write the stream file (JSON is YAML) for `reference.parquet` there."""
    stream: dict[str, Any] = {
        "tidegauge": 1,
        "name": "sites",
        "source": {"path": str(folder / "current.parquet")},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "key": ["site"],
        "columns": {name: {"type": "number"} for name in COLUMNS},
        "window": {"length": f"{WINDOW}s"},
        "watermark": {"idle_after": "20s"},
        "monitors": {"expectations": False},
        "alarms": {"false": "1 per 500 windows"},
        **changes,
    }
    file = folder / "stream.yaml"
    file.write_text(json.dumps(stream, indent=1))
    return file


def as_json(rows: pl.DataFrame) -> list[bytes]:
    """Return a message per row."""
    return [line.encode() for line in rows.write_ndjson().splitlines()]


def as_arrow(rows: pl.DataFrame, per_message: int = 1000) -> list[bytes]:
    """Return messages of so many rows."""
    table = rows.to_arrow()
    return [_ipc(table.slice(at, per_message)) for at in range(0, table.num_rows, per_message)]


def _ipc(table: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return bytes(out.getvalue().to_pybytes())


def feed(
    servers: str,
    topic: str,
    messages: Sequence[bytes],
    partitions: int,
    *,
    per_second: float | None = None,
) -> None:
    """Send messages to the partitions in turn, at a rate or as fast as it goes."""
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 20, "enable.idempotence": True, "log_level": 0,
         "queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1 << 18}
    )  # fmt: skip
    begun = time.monotonic()
    for number, message in enumerate(messages):
        while True:
            try:
                producer.produce(topic, message, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 500 == 0:
            producer.poll(0)
            if per_second is not None:
                time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
    producer.flush()


@dataclass(slots=True)
class Told:
    """What a reader of committed records has seen of a topic."""

    records: list[dict[str, Any]] = field(default_factory=list)
    at: float = 0.0  #: when the last one came, on the monotonic clock

    @property
    def last(self) -> dict[str, dict[str, Any]]:
        """The last revision of each finding, by id."""
        return {record["id"]: record for record in sorted(self.records, key=_revision)}

    @property
    def twice(self) -> int:
        """Findings that were told more than once in one revision."""
        return len(self.records) - len({(r["id"], r["revision"]) for r in self.records})


def _revision(record: dict[str, Any]) -> int:
    return int(record["revision"])


def read_told(servers: str, topic: str, *, windows: int, patience: float) -> Told:
    """Read a topic of findings until so many windows of each site are told, or patience ends."""
    told = Told()
    wanted = windows * len(SITES)
    give_up, seen = time.monotonic() + patience, set[tuple[str, str]]()
    for record in _records(servers, topic):
        if record is not None:
            told.records.append(record)
            told.at = time.monotonic()
            if record["key"] != "*":
                seen.add((record["key"], record["window_start"]))
        elif len(seen) >= wanted or time.monotonic() > give_up:
            return told
    raise AssertionError  # they never end


def _records(servers: str, topic: str) -> Iterator[dict[str, Any] | None]:
    """Yield the committed records, and None whenever there is none for a second."""
    reader = Consumer(
        {"bootstrap.servers": servers, "group.id": "reader", "isolation.level": "read_committed",
         "enable.auto.commit": False, "log_level": 0}
    )  # fmt: skip
    try:
        reader.assign([TopicPartition(topic, 0, 0)])
        while True:
            message = reader.poll(1.0)
            if message is None:
                yield None
            elif message.error() is None:
                yield json.loads(message.value() or b"{}")
    finally:
        reader.close()
