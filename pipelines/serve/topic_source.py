"""The metrics that findings in a topic of Kafka carry, read from its beginning and then followed.

The job may write a finding more than once, and findings of one id come in one partition, in order:
a revision that is not higher than the last one seen is a copy. The last half a million findings are
remembered for that, and of all others only what is counted, so that memory is bounded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import (
    TYPE_CHECKING,
    NotRequired,  # Pydantic asks for this one before Python 3.12
)

import polars as pl
import pyarrow as pa
from prometheus_client import Metric
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from typing_extensions import (
    TypedDict,
)

from monitors.export import collect_findings
from monitors.findings_tally import COLUMNS, WINDOW, FindingsTally, Recent
from monitors.rollup import ALL_KEYS
from pipelines.kafka.client import consumer, partitions
from pipelines.serve.server import NoPageError
from schemas.errors import SourceError
from schemas.records import FINDING
from schemas.stream import Stream

if TYPE_CHECKING:
    from confluent_kafka import Message

_SETTINGS = {
    "auto.offset.reset": "earliest",  # of a topic that was emptied and begins anew
    "enable.partition.eof": True,
    "queued.max.messages.kbytes": 4096,  # per partition, read ahead; more when that is taken,
    "fetch.queue.backoff.ms": 10,  # and soon
}
_AT_ONCE = 10_000  # messages taken in together
_PAUSE = 1.0  # seconds between two looks for brokers that are not there


class _Row(TypedDict):
    """What is read of a message; it may hold more."""

    id: str
    revision: int
    stream: str
    key: str
    window_start: AwareDatetime | None
    window_end: AwareDatetime | None
    window_index: int | None
    monitor: str
    subject: str
    status: str
    statistic: float | None
    threshold: float | None
    alarm: bool
    explanation: str
    kind: NotRequired[str | None]  # of a later version than the oldest findings of a topic
    since: NotRequired[AwareDatetime | None]


_ROW = TypeAdapter(_Row)
_SCHEMA = pa.schema([FINDING.field(name) for name in COLUMNS])


class TopicSource:
    """The metrics of a stream's findings in a topic.

    Raises
    ------
    SourceError
        When the stream file names no topic of findings, or it cannot be read, unless it is to wait.
    """

    def __init__(self, stream: Stream, allow: Collection[str] = (), *, wait: bool = False) -> None:
        sink = stream.sinks.kafka
        if sink is None or sink.findings is None:
            raise SourceError(
                f"the stream {stream.name!r} has no topic of findings; name it in the stream file, "
                f"under `sinks: kafka: findings:`"
            )
        self.name = f"the findings of {stream.name} in the topic {sink.findings}"
        self._topic, self._allow = sink.findings, allow
        self._lock, self._closing = Lock(), Event()
        self._findings = _Findings(stream)
        self._families: list[Metric] | None = None  # None: to be made
        self._missing = self._behind = f"the topic {sink.findings} is still being read"
        self._fault: Exception | None = None
        self._client, self._troubles = consumer(sink, self._topic, **_SETTINGS)
        self._complaint = ""
        self._unread: set[int] | None = None  # partitions not read to their end; None: not known
        if not wait:
            try:
                self._assign()
            except SourceError:
                self._client.close()
                raise
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def families(self) -> list[Metric]:
        """Return the metric families; none before the topic was read to the end it had at start."""
        with self._lock:
            if self._missing:
                return []
            if self._families is None:
                self._families = self._findings.families(self._allow)
            return self._families

    def missing(self) -> str:
        """Say what is missing until the topic has been read to the end that it had at start."""
        with self._lock:
            return self._missing

    def page(self, finding: str) -> str:
        """Refuse: a topic has the findings, and no rows to explain them with."""
        message = (
            f"the finding {finding} has no page here: this exporter reads a topic, which holds no "
            f"rows of its window; serve the run folder, or ask `tidegauge explain {finding} "
            f"--run RUN_DIR` where it is"
        )
        raise NoPageError(message)

    def check(self) -> None:
        """Raise what has ended the reading of the topic."""
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """End the reading of the topic."""
        self._closing.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        try:
            while self._unread is None and not self._closing.is_set():
                try:
                    self._assign()
                except SourceError as error:
                    self._complain(str(error))
                    with self._lock:
                        self._missing = str(error)
                    self._closing.wait(_PAUSE)
            while not self._closing.is_set():
                self._take(self._client.consume(_AT_ONCE, timeout=0.5))
        except Exception as error:  # noqa: BLE001 (the main thread raises it)
            self._fault = error
        finally:
            self._client.close()

    def _assign(self) -> None:
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        found = partitions(self._client, self._topic, self._troubles)
        self._client.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in found])
        self._unread = set(found)
        with self._lock:
            self._missing = self._behind

    def _take(self, messages: Sequence[Message]) -> None:
        values = [message for message in messages if message.error() is None]
        at_end: set[int | None] = set()
        for message in messages:
            error = message.error()
            if error is not None and error.name() == "_PARTITION_EOF":
                at_end.add(message.partition())
            elif error is not None:
                self._complain(str(self._troubles.error(error)))
        if values:
            self._complaint = ""
        elif self._troubles.told:  # in the background, such as that the brokers are gone
            self._complain(str(self._troubles.error(self._troubles.told[-1])))
        self._troubles.told.clear()
        with self._lock:
            if values:
                self._findings.add(values)
                self._families = None
            if self._missing:
                self._unread = (self._unread or set()) - at_end
                self._missing = self._missing if self._unread else ""

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            sys.stderr.write(f"{text}\n")
            self._complaint = text


class _Findings:
    """The findings of one stream so far."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._tally, self._ids, self._windows = FindingsTally(), Recent(), Recent()
        self._closed = self._unreadable = 0
        self._committed: datetime | None = None

    def add(self, messages: Sequence[Message]) -> None:
        """Add messages that hold findings; those of other streams, and copies, are left out."""
        rows: list[_Row] = []
        for message in messages:
            row = self._parse(message)
            if row is None or row["stream"] != self._stream.name:
                continue
            if self._ids.is_new(row["id"], row["revision"]):
                rows.append(row)
                self._date(message)
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        found = pl.DataFrame(table)
        self._tally.add(found)
        for window in (
            found.filter(pl.col("key") != ALL_KEYS).select("key", *WINDOW).unique().rows()
        ):
            self._closed += self._windows.is_new(window)

    def families(self, allow: Collection[str]) -> list[Metric]:
        """Return the metric families."""
        return collect_findings(
            self._tally.view(),
            self._stream,
            allow,
            closed=self._closed,
            committed=self._committed,
        )

    def _date(self, message: Message) -> None:
        kind, milliseconds = message.timestamp()
        if kind:  # 0: the message has none
            time = datetime.fromtimestamp(milliseconds / 1e3, tz=UTC)
            self._committed = max(time, self._committed or time)

    def _parse(self, message: Message) -> _Row | None:
        value = message.value()
        if value is None:  # a tombstone, of a topic that is compacted
            return None
        try:
            return _ROW.validate_json(value)
        except ValidationError as error:
            self._unreadable += 1
            if math.log10(self._unreadable).is_integer():  # the first, the tenth, ...
                fault = error.errors()[0]
                where = f"{message.topic()}/{message.partition()} offset {message.offset()}"
                place = ".".join(str(part) for part in fault["loc"])
                sys.stderr.write(
                    f"{where}: no finding, and left out: {place}: {fault['msg']}; "
                    f"{self._unreadable} so far\n"
                )
            return None
