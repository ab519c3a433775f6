"""Bounded pieces of a topic: which messages come next, and reading just these, as often as need be.

The offsets are the caller's to keep, together with what was made of the messages: no group is
joined and nothing is committed to the brokers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from pipelines.kafka import client
from schemas.errors import SourceError
from schemas.kafka import Topic
from schemas.records import Tally
from schemas.stream import Stream
from transforms.beam import REJECTS, TALLIES, newest_time
from transforms.messages import Message, take_in

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

_MESSAGES = 50_000  # decoded at a time, at most
_BYTES = 16 << 20  # of them, about
_STALLED = 60.0  # seconds without a message after which reading is given up


@dataclass(frozen=True, slots=True)
class Range:
    """The messages of one partition from one offset to before another."""

    partition: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read next."""

    ranges: list[Range]  #: none is empty
    positions: dict[int, int]  #: of each partition, once the ranges are read
    behind: int  #: offsets left after them
    notes: list[str]  #: what the user should know: messages that were lost


def end_offsets(topic: Topic) -> dict[int, int]:
    """Return for each partition the offset after its last message that may be read.

    Raises
    ------
    SourceError
        When the topic cannot be reached.
    """
    return {partition: high for partition, (_, high) in _watermarks(topic).items()}


def next_ranges(
    topic: Topic,
    committed: Mapping[int, int],
    most: int,
    until: Mapping[int, int] | None = None,
) -> Plan:
    """Return what to read next: at most so many offsets of each partition.

    Parameters
    ----------
    committed
        For each partition the first offset not read yet; empty before the first run, which starts
        where `topic.start` says. A partition that is added later is read from its beginning.
    until
        For each partition the offset behind which nothing is read; None: whatever there is.

    Raises
    ------
    SourceError
        When the topic cannot be reached, or is another than the one that was read.
    """
    plan = Plan([], {}, 0, [])
    behind = 0
    where = f"{topic.servers}: topic {topic.topic!r}"
    watermarks = _watermarks(topic)
    for partition in committed.keys() - watermarks.keys():
        raise _recreated(f"{where}: partition {partition}, which was read, is no more")
    for partition, (first, end) in watermarks.items():
        begin = end if topic.start == "latest" and not committed else first
        low = committed.get(partition, begin)
        if low > end:
            raise _recreated(
                f"{where}: partition {partition} was read up to offset {low} and ends at {end}"
            )
        if low < first:
            plan.notes.append(
                f"{where}: partition {partition}: offsets {low} to {first - 1} were deleted before "
                f"they were read; let the topic keep messages for longer, or run more often"
            )
            low = first
        high = min(end, low + most)
        if until is not None:
            high = max(low, min(high, until.get(partition, low)))
        plan.positions[partition] = high
        behind += end - high
        if low < high:
            plan.ranges.append(Range(partition, low, high))
    return Plan(plan.ranges, plan.positions, behind, plan.notes)


class ReadRanges(beam.PTransform):
    """Read ranges of a topic into checked batches; the outputs are those of `ReadBatches`.

    There is one `Tally` per range, with the path ``topic/partition``. A batch has the rows of one
    partition, in its order.

    Parameters
    ----------
    newest
        Newest event time of each partition before its range, in µs since 1970, by
        ``topic/partition``.
    """

    def __init__(
        self, ranges: Sequence[Range], topic: Topic, stream: Stream, newest: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.ranges, self.topic, self.stream = list(ranges), topic, stream
        self.newest = dict(newest)

    def expand(self, begin: PBegin) -> Any:
        """Apply the transform to a pipeline."""
        return (
            begin
            | "ranges" >> beam.Create(self.ranges, reshuffle=True)
            | "read and check"
            >> beam.ParDo(_ReadAndCheck(self.topic, self.stream, self.newest)).with_outputs(
                REJECTS, TALLIES, main="batches"
            )
        )


class _ReadAndCheck(beam.DoFn):
    def __init__(self, topic: Topic, stream: Stream, newest: dict[str, int]) -> None:
        super().__init__()
        self.topic, self.stream, self.newest = topic, stream, newest

    def process(self, part: Range) -> Iterator[Any]:
        rows = rejected = 0
        path = f"{self.topic.topic}/{part.partition}"
        latest = self.newest.get(path)
        for messages in read_range(self.topic, part):
            taken = take_in(messages, self.topic, self.stream)
            rejected += taken.rejects.num_rows
            if taken.rejects.num_rows:
                yield TaggedOutput(REJECTS, taken.rejects)
            for batch in taken.batches:
                rows += batch.table.num_rows
                yield replace(batch, latest=latest)
                latest = newest_time(batch, self.stream, latest)
        yield TaggedOutput(TALLIES, Tally(path, rows + rejected, rejected, latest=latest))


def read_range(topic: Topic, part: Range) -> Iterator[list[Message]]:
    """Yield the messages of a range, in lists of bounded size.

    Raises
    ------
    SourceError
        When the brokers cannot be reached, or messages of the range are deleted meanwhile.
    """
    from confluent_kafka import KafkaException, TopicPartition

    source, troubles = client.consumer(
        topic, topic.topic, **{"enable.partition.eof": True, "auto.offset.reset": "error"}
    )
    try:
        source.assign([TopicPartition(topic.topic, part.partition, part.low)])
        held, size, mean = list[Message](), 0, 1 << 17
        seen, at = time.monotonic(), part.low
        while at < part.high:
            most = min(part.high - at, _MESSAGES, max(1, _BYTES // mean))
            for message in source.consume(most, timeout=1.0):
                error = message.error()
                if error is not None and error.name() == "_PARTITION_EOF":
                    at = part.high  # the last offsets hold no message: compacted, or of commits
                elif error is not None:
                    raise troubles.error(error)
                else:
                    own = to_message(message)
                    at = min(own.offset + 1, part.high)
                    if own.offset < part.high:
                        held.append(own)
                        size += len(message)
                seen = time.monotonic()
            if time.monotonic() - seen > _STALLED:
                raise troubles.error(KafkaException(_timed_out()))
            if len(held) >= _MESSAGES or size >= _BYTES:
                yield held
                mean, held, size = max(1, size // len(held)), [], 0
        if held:
            yield held
    finally:
        source.close()


def to_message(message: Any) -> Message:
    """Return a message of the client as a record."""
    kind, millis = message.timestamp()
    return Message(
        message.partition(),
        message.offset(),
        millis if kind else None,
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )


def _watermarks(topic: Topic) -> dict[int, tuple[int, int]]:
    """Return for each partition its first offset and the one after the last that may be read."""
    from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

    source, troubles = client.consumer(topic, topic.topic)
    try:
        numbers = client.partitions(source, topic.topic, troubles)
    finally:
        source.close()
    admin = AdminClient(client.connection(topic) | {"error_cb": troubles.told.append})
    ends = []
    for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
        asked = {TopicPartition(topic.topic, number): spec for number in numbers}
        answers = admin.list_offsets(
            asked,
            # an open transaction is not to be skipped
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=client.PATIENCE,
        )
        try:
            ends.append({part.partition: own.result().offset for part, own in answers.items()})
        except KafkaException as error:
            raise troubles.error(error) from error
    first, last = ends
    return {number: (first[number], last[number]) for number in numbers}


def _recreated(what: str) -> SourceError:
    return SourceError(
        f"{what}: the topic was made anew; remove the state of the stream to begin again with it"
    )


def _timed_out() -> KafkaError:
    from confluent_kafka import KafkaError

    return KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 (so it is called)
