"""The unbounded source: marks survive, and the watermark follows the rows alone."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from pipelines.kafka.unbounded import Mark, MarkCoder, Taken, TopicReader, TopicSource
from schemas.errors import SourceError
from schemas.kafka import Topic
from schemas.stream import Stream
from tests.servers.kafka import Broker, kafka_broker
from transforms.rejects import ROW


def stream(topic: Topic, **watermark: str) -> Stream:
    """Return a stream with one number."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "s",
            "source": topic,
            "reference": {"path": "x"},
            "time": {"column": "t"},
            "columns": {"a": {"type": "number"}},
            "window": {"length": "1h"},
            "watermark": watermark,
        }
    )


def test_a_mark_survives_its_coder() -> None:
    """What a runner keeps is JSON with a version, and comes back as it was."""
    mark = Mark({0: 5, 10: 7}, {0: 1_000_000})
    encoded = MarkCoder().encode(mark)
    assert json.loads(encoded)["version"] == 1
    assert MarkCoder().decode(encoded) == mark


def test_a_mark_of_a_later_version_is_refused() -> None:
    """A job does not go on from what it cannot understand."""
    with pytest.raises(SourceError, match="the checkpoint has version 2"):
        MarkCoder().decode(b'{"version": 2}')


def test_the_source_is_one_and_can_be_sent_to_workers() -> None:
    """All partitions have one reader; the source is pickled with its stream."""
    topic = Topic(servers="x:1", topic="t", format="json")
    source = TopicSource(topic, stream(topic))
    (same,) = source.split(20)
    assert pickle.loads(pickle.dumps(same)).topic == topic  # noqa: S301 (our own)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Return a broker for the tests of this module."""
    with kafka_broker() as running:
        yield running


def a_topic(broker: Broker, name: str, rows: dict[int, list[int]]) -> Topic:
    """Return a topic of two partitions with rows at some seconds of event time."""
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result()
    topic = Topic(servers=broker.address, topic=name, format="json")
    produce(topic, rows)
    return topic


def produce(topic: Topic, rows: dict[int, list[int]]) -> None:
    """Send rows at some seconds of event time to partitions."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": topic.servers})
    for partition, times in rows.items():
        for at in times:
            producer.produce(topic.topic, json.dumps({"t": at, "a": 1}), partition=partition)
    assert producer.flush(30) == 0


def read(reader: TopicReader, rows: int, *, started: bool = False) -> list[Taken]:
    """Read until so many rows have come."""
    found: list[Taken] = []
    give_up = time.monotonic() + 30
    any_now = reader.advance() if started else reader.start()
    while sum(batch.table.num_rows for taken in found for batch in taken.rows.batches) < rows:
        if any_now:
            found.append(reader.get_current())
        assert time.monotonic() < give_up
        any_now = reader.advance()
    assert not any_now
    return found


def places(found: list[Taken]) -> list[tuple[str, Any]]:
    """Return where rows are from."""
    return sorted(
        (batch.path, row)
        for taken in found
        for batch in taken.rows.batches
        for row in batch.table[ROW].to_pylist()
    )


@pytest.mark.integration
def test_a_reader_goes_on_after_a_mark(broker: Broker) -> None:
    """What was read up to a mark is not read again, and nothing after it is left out."""
    topic = a_topic(broker, "goes-on", {0: [10, 20], 1: [30]})
    source = TopicSource(topic, stream(topic))
    reader = source.create_reader(None, None)
    first = read(reader, 3)
    mark = reader.get_checkpoint_mark()
    reader.close()
    assert mark == Mark({0: 2, 1: 1}, {0: 20_000_000, 1: 30_000_000})
    produce(topic, {0: [40], 1: [50, 60]})
    later = source.create_reader(None, mark)
    second = read(later, 3)
    later.close()
    assert places(first) == [("goes-on/0", 0), ("goes-on/0", 1), ("goes-on/1", 0)]
    assert places(second) == [("goes-on/0", 2), ("goes-on/1", 1), ("goes-on/1", 2)]
    batches = [batch for taken in second for batch in taken.rows.batches]
    assert {batch.path: batch.latest for batch in batches} == {
        "goes-on/0": 20_000_000,
        "goes-on/1": 30_000_000,
    }


@pytest.mark.integration
def test_the_watermark_waits_for_partitions_that_are_not_idle(broker: Broker) -> None:
    """It is the least of the partitions, behind by the out-of-orderness, until one is silent."""
    topic = a_topic(broker, "waits", {0: [100, 90]})
    reader = TopicReader(topic, stream(topic, out_of_orderness="10s", idle_after="2s"), Mark())
    (taken,) = read(reader, 2)
    assert taken.oldest == 90_000_000
    assert reader.get_current_timestamp() == Timestamp(90)
    assert reader.get_watermark() == MIN_TIMESTAMP  # the other partition may yet send anything
    produce(topic, {1: [50]})
    read(reader, 1, started=True)
    assert reader.get_watermark() == Timestamp(40)
    produce(topic, {1: [200]})
    read(reader, 1, started=True)
    assert reader.get_watermark() == Timestamp(90)
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        produce(topic, {1: [300]})
        reader.advance()
    assert reader.get_watermark() == Timestamp(290)  # partition 0 is idle
    produce(topic, {0: [110]})
    reader.close()


@pytest.mark.integration
def test_a_reader_that_is_kept_waiting_sees_no_silence(broker: Broker) -> None:
    """Messages that wait while the reader is not asked are no sign of an idle partition."""
    topic = a_topic(broker, "kept-waiting", {0: [10], 1: [500]})
    reader = TopicReader(topic, stream(topic, idle_after="2s"), Mark())
    read(reader, 2)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        reader.advance()
    assert set(reader.at_end) == {0, 1}
    produce(topic, {0: [20]})
    time.sleep(2)  # parked by the runner
    assert reader.get_watermark() == Timestamp(10)
    assert reader.advance()
    assert reader.get_watermark() == Timestamp(20)
    reader.close()


@pytest.mark.integration
def test_a_broker_that_is_down_is_no_silence() -> None:
    """While no broker answers, partitions are not idle; reading goes on when one does."""
    with kafka_broker() as own:
        topic = a_topic(own, "down", {0: [10], 1: [500]})
        reader = TopicReader(topic, stream(topic, idle_after="3s"), Mark())
        read(reader, 2)
        own.kill()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert not reader.advance()
        assert reader.get_watermark() == Timestamp(10)
        own.start()
        produce(topic, {0: [20]})
        read(reader, 1, started=True)
        reader.close()
