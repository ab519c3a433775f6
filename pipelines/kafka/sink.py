"""Records to topics: a JSON message per row, under a key that a retry does not change.

A record may be sent more than once, as after a crash. Whoever keeps the last message of each key,
as a compacted topic does, has each record once, in its latest revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
from apache_beam.pvalue import PCollection

from pipelines.kafka import client
from schemas.errors import OutputError
from schemas.kafka import Brokers
from schemas.sinks import RecordTopics
from transforms.messages import placed

_LARGEST = 64 << 20  # bytes of a message; topics have their own, smaller limits
_GIVE_UP = 60.0  # seconds until a message that no broker takes is an error


class Publisher:
    """Sends messages; what goes wrong is raised by `flush`, at the latest."""

    def __init__(self, brokers: Brokers) -> None:
        self._client, self._troubles = client.producer(
            brokers,
            **{"message.max.bytes": _LARGEST, "delivery.timeout.ms": round(_GIVE_UP * 1000)},
        )
        self._known: set[str] = set()
        self._failed: list[tuple[Any, str]] = []

    def send(self, topic: str, value: bytes, key: bytes | None = None, **more: Any) -> None:
        """Send a message to a topic that exists.

        Raises
        ------
        OutputError
            When there is no such topic, no broker, or an earlier message could not be sent.
        """
        if topic not in self._known:
            client.partitions(self._client, topic, self._troubles)
            self._known.add(topic)
        while True:
            try:
                self._client.produce(topic, value, key, on_delivery=self._delivered, **more)
            except BufferError:  # as much is under way as may be
                self._client.poll(0.1)
                self._raise()
            except client.kafka_exception() as error:
                self._troubles.topic = topic
                raise self._troubles.error(error) from error
            else:
                self._client.poll(0)
                return

    def flush(self) -> None:
        """Wait until everything is with the brokers.

        Raises
        ------
        OutputError
            When something could not be sent.
        """
        while self._client.flush(1.0) and not self._failed:
            pass
        self._raise()

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append((error, message.topic()))

    def _raise(self) -> None:
        if self._failed:
            error, self._troubles.topic = self._failed[0]
            self._failed = []
            raise self._troubles.error(error)


def publish_records(tables: Mapping[str, pa.Table], records: RecordTopics) -> None:
    """Send records to their topics; those without a topic are left out.

    Parameters
    ----------
    tables
        Of schema `FINDING`, `FORECAST` and `REJECT`, as ``findings``, ``forecasts``, ``rejects``.

    Raises
    ------
    OutputError
        When a topic cannot be written; then some of the records may have been sent.
    """
    wanted = {name: table for name, table in tables.items() if topic_of(records, name) is not None}
    if not any(table.num_rows for table in wanted.values()):
        return
    publisher = Publisher(records)
    for name, table in wanted.items():
        _send(publisher, topic_of(records, name), name, table)
    publisher.flush()


class WriteTopic(beam.PTransform):
    """Send Arrow tables of one kind of records to its topic.

    Parameters
    ----------
    name : findings, forecasts or rejects; it must have a topic.
    """

    def __init__(self, records: RecordTopics, name: str) -> None:
        super().__init__()
        self.records, self.name = records, name

    def expand(self, tables: PCollection[pa.Table]) -> Any:
        """Apply the transform."""
        return tables | "send" >> beam.ParDo(_Send(self.records, self.name))


class _Send(beam.DoFn):
    def __init__(self, records: RecordTopics, name: str) -> None:
        super().__init__()
        self.records, self.name = records, name

    def setup(self) -> None:
        self.publisher = Publisher(self.records)

    def process(self, table: pa.Table) -> None:
        _send(self.publisher, topic_of(self.records, self.name), self.name, table)

    def finish_bundle(self) -> None:
        self.publisher.flush()


def topic_of(records: RecordTopics, name: str) -> str | None:
    """Return the topic of one kind of records; None where it has none."""
    topics = {"findings": records.findings, "forecasts": records.forecasts}
    return (topics | {"rejects": records.rejects}).get(name)


def _send(publisher: Publisher, topic: str | None, name: str, table: pa.Table) -> None:
    if topic is None:
        raise OutputError(f"there is no topic for {name}; add it to `sinks: kafka:`")
    if not table.num_rows:
        return
    for key, value in to_messages(name, table):
        publisher.send(topic, value, key)


def to_messages(name: str, table: pa.Table) -> list[tuple[bytes, bytes]]:
    """Return the key and the value of each record of a table, which has some."""
    table = table if name == "findings" else placed(table)
    keys = pl.DataFrame(table).select(_key(name)).to_series().to_list()
    return list(zip([key.encode() for key in keys], json_lines(table), strict=True))


def json_lines(table: pa.Table) -> list[bytes]:
    """Return each row as a JSON object: times in ISO 8601, null for what is not finite."""
    return pl.DataFrame(table).write_ndjson().encode().removesuffix(b"\n").split(b"\n")


def _key(name: str) -> pl.Expr:
    if name == "findings":
        return pl.col("id")
    place = pl.format("{}|{}", "path", pl.col("row").cast(pl.String).fill_null(""))
    if name == "rejects":
        return pl.format("{}|{}", "stream", place)
    time = pl.col("valid_time").dt.to_string("iso:strict")
    return pl.format("{}|{}|{}|{}", "stream", "key", "target", pl.coalesce(time, place))
