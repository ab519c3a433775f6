"""A topic without an end, for runners that stream: Beam's unbounded source, written in Python.

One reader reads all partitions, so that one which is silent does not hold the watermark of the
others: once the reader has been at its end for `watermark.idle_after`, it counts no more. Time that
passes while messages wait to be read is no silence, and the clock of this machine is no event time.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.coders import Coder
from apache_beam.io.iobase import Read
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.pvalue import PBegin, TaggedOutput
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from pipelines.kafka import client
from pipelines.kafka.ranges import next_ranges, to_message
from schemas.duration import parse_duration
from schemas.errors import SourceError
from schemas.kafka import Topic
from schemas.records import Tally
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES, newest_time
from transforms.messages import Message, TakenIn, take_in

_LOG = logging.getLogger(__name__)

MARK_VERSION = 1
_MESSAGES = 5_000  # asked for at a time
_WAIT = 0.1  # seconds for them to come: a reader must not block


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of one partition, and where reading goes on after them."""

    partition: int
    path: str
    rows: TakenIn
    next_offset: int
    oldest: int | None  #: least event time, in µs since 1970; None without a row
    newest: int | None  #: largest event time so far


@dataclass(frozen=True)
class Mark(CheckpointMark):
    """How far a topic was read: what a runner keeps."""

    offsets: dict[int, int] = field(default_factory=dict)  #: the next one, by partition
    newest: dict[int, int] = field(default_factory=dict)  #: event time in µs, by partition


class MarkCoder(Coder):
    """Marks as JSON with a version."""

    def encode(self, value: Mark) -> bytes:
        """Return a mark as bytes."""
        parts = {"version": MARK_VERSION, "offsets": value.offsets, "newest": value.newest}
        return json.dumps(parts, sort_keys=True).encode()

    def decode(self, encoded: bytes) -> Mark:
        """Return the mark that bytes hold.

        Raises
        ------
        SourceError
            When a later version of tidegauge wrote it.
        """
        parts = json.loads(encoded)
        if parts["version"] != MARK_VERSION:
            raise SourceError(
                f"the checkpoint has version {parts['version']}, which this version does not read; "
                f"restart the job with the version of tidegauge that wrote it"
            )
        return Mark(
            {int(partition): at for partition, at in parts["offsets"].items()},
            {int(partition): at for partition, at in parts["newest"].items()},
        )

    def is_deterministic(self) -> bool:
        """Say that equal marks have equal bytes."""
        return True


class ReadTopic(beam.PTransform):
    """Read a topic into checked batches, without an end; outputs as of `ReadRanges`.

    There is a `Tally` for each time messages were read.
    """

    def __init__(self, topic: Topic, stream: Stream) -> None:
        super().__init__()
        self.topic, self.stream = topic, stream

    def expand(self, begin: PBegin) -> Any:
        """Apply the transform to a pipeline."""
        return (
            begin
            | "read" >> Read(TopicSource(self.topic, self.stream))
            | "tell apart"
            >> beam.ParDo(_TellApart()).with_outputs(REJECTS, TALLIES, main="batches")
        )


class _TellApart(beam.DoFn):
    def process(self, taken: Taken) -> Iterator[Any]:
        yield from taken.rows.batches
        bad = taken.rows.rejects.num_rows
        if bad:
            yield TaggedOutput(REJECTS, taken.rows.rejects)
        rows = bad + sum(batch.table.num_rows for batch in taken.rows.batches)
        yield TaggedOutput(TALLIES, Tally(taken.path, rows, bad, latest=taken.newest))


class TopicSource(UnboundedSource):
    """The messages of a topic, decoded and checked, as `Taken`."""

    def __init__(self, topic: Topic, stream: Stream) -> None:
        self.topic, self.stream = topic, stream

    def split(self, desired_num_splits: int, options: Any = None) -> list[UnboundedSource]:  # noqa: ARG002
        """Return itself: the watermark needs to know all partitions."""
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: Any) -> TopicReader:  # noqa: ARG002
        """Return a reader that begins at a mark, or where `topic.start` says."""
        return TopicReader(self.topic, self.stream, checkpoint_mark or Mark())

    def get_checkpoint_mark_coder(self) -> Coder:
        """Return the coder of marks."""
        return MarkCoder()


class TopicReader(UnboundedReader):
    """Reads all partitions of a topic, from a mark on."""

    def __init__(self, topic: Topic, stream: Stream, mark: Mark) -> None:
        assert stream.time is not None  # noqa: S101 (a topic needs it)
        self.topic, self.stream, self.time = topic, stream, stream.time.column
        behind = stream.watermark.out_of_orderness
        self.behind = 0 if behind is None else round(parse_duration(behind) * 1e6)
        self.idle_after = parse_duration(stream.watermark.idle_after)
        self.offsets, self.newest = dict(mark.offsets), dict(mark.newest)
        self.at_end: dict[int, float] = {}  # since when, by partition
        self.looked = 0.0  # when the brokers were last asked
        self.ready: deque[Taken] = deque()
        self.watermark = MIN_TIMESTAMP
        self.consumer: Any = None
        self.current: Taken | None = None

    def start(self) -> bool:
        """Begin to read; say whether there are messages."""
        from confluent_kafka import TopicPartition

        plan = next_ranges(self.topic, self.offsets, 0)
        for note in plan.notes:
            _LOG.warning(note)
        self.offsets = plan.positions
        self.consumer, self.troubles = client.consumer(
            self.topic,
            self.topic.topic,
            **{"enable.partition.eof": True, "auto.offset.reset": "error"},
        )
        name = self.topic.topic
        self.consumer.assign([TopicPartition(name, *at) for at in self.offsets.items()])
        return self.advance()

    def advance(self) -> bool:
        """Go on to the next rows; say whether there are any now."""
        if not self.ready:
            self._poll()
        if not self.ready:
            return False
        self.current = taken = self.ready.popleft()
        self.offsets[taken.partition] = taken.next_offset
        if taken.newest is not None:
            self.newest[taken.partition] = taken.newest
        return True

    def get_current(self) -> Taken:
        """Return the rows."""
        assert self.current is not None  # noqa: S101 (`advance` said so)
        return self.current

    def get_current_timestamp(self) -> Timestamp:
        """Return the least event time of the rows; the watermark where there are rejects only."""
        oldest = self.get_current().oldest
        return self.watermark if oldest is None else Timestamp(micros=oldest)

    def get_watermark(self) -> Timestamp:
        """Return what the event times of later rows will be, but for late ones."""
        # a runner may park a reader: what counts is how long it looked and found nothing
        ends = self.at_end.items()
        idle = {part for part, since in ends if self.looked - since >= self.idle_after}
        idle -= {taken.partition for taken in self.ready}
        awake = self.offsets.keys() - idle
        if not awake:
            newest = max(self.newest.values(), default=None)
        elif awake <= self.newest.keys():
            newest = min(self.newest[partition] for partition in awake)
        else:
            newest = None  # one is not idle yet, and has had no row
        if newest is not None:
            self.watermark = max(self.watermark, Timestamp(micros=newest - self.behind))
        return self.watermark

    def get_checkpoint_mark(self) -> Mark:
        """Return where to go on after the current rows."""
        return Mark(dict(self.offsets), dict(self.newest))

    def close(self) -> None:
        """Leave the brokers."""
        if self.consumer is not None:
            self.consumer.close()

    def _poll(self) -> None:
        """Make what the brokers have ready, in the order of each partition."""
        read: defaultdict[int, list[Message]] = defaultdict(list)
        for message in self.consumer.consume(_MESSAGES, _WAIT):
            error = message.error()
            if error is None:
                read[message.partition()].append(to_message(message))
                self.at_end.pop(message.partition(), None)
            elif error.name() == "_PARTITION_EOF":
                self.at_end.setdefault(message.partition(), time.monotonic())
            elif not error.retriable() and error.name() not in client.SILENCE:
                raise self.troubles.error(error)
        self.looked = time.monotonic()
        if self.troubles.told:  # a broker that is down is no silence
            self.troubles.told.clear()
            self.at_end = dict.fromkeys(self.at_end, self.looked)
        for partition, messages in read.items():
            self.ready.append(self._taken(partition, messages))

    def _taken(self, partition: int, messages: list[Message]) -> Taken:
        rows = take_in(messages, self.topic, self.stream)
        newest, oldest = self.newest.get(partition), list[int]()
        batches = []
        for batch in rows.batches:
            batches.append(replace(batch, latest=newest))
            newest = newest_time(batch, self.stream, newest)
            oldest.append(pc.min(batch.table[self.time].cast(pa.int64())).as_py())
        return Taken(
            partition,
            f"{self.topic.topic}/{partition}",
            TakenIn(batches, rows.rejects),
            messages[-1].offset + 1,
            min(oldest, default=None),
            newest,
        )
