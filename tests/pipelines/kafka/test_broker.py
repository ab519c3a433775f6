"""Topics of a real broker: what is read, what is written, and what is said when it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pytest

from pipelines.kafka import client
from pipelines.kafka.ranges import Plan, Range, ReadRanges, end_offsets, next_ranges
from pipelines.kafka.sink import WriteTopic, publish_records
from pipelines.replay import replay
from schemas.errors import OutputError, SourceError
from schemas.kafka import Topic
from schemas.records import FINDING, FORECAST, REJECT, Batch, Tally
from schemas.sinks import RecordTopics
from schemas.stream import Stream
from tests.servers.certificates import write_certificate
from tests.servers.kafka import Broker, kafka_broker
from tests.servers.topics import create_topic
from transforms.beam import REJECTS, TALLIES
from transforms.rejects import ROW

pytestmark = pytest.mark.integration

Value = bytes | None


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Return a broker for the tests of this module; each has topics of its own."""
    with kafka_broker() as running:
        yield running


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> Topic:
    """Return a new topic of two partitions, named after the test."""
    name = request.node.name.replace("[", "-").replace("]", "")
    create(broker, name)
    return a_topic(broker, name)


def a_topic(broker: Broker, name: str, **more: Any) -> Topic:
    """Return a topic of JSON messages."""
    given = {"servers": broker.address, "topic": name, "format": "json", **more}
    return Topic.model_validate(given)


def create(broker: Broker, name: str, **settings: str) -> None:
    """Create a topic of two partitions."""
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, 2, 1, config=settings)])[name].result()


def produce(topic: Topic, values: Mapping[int, Sequence[Value]], **settings: Any) -> None:
    """Send messages to partitions, in order."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": topic.servers, "log_level": 0, **settings})
    for partition, own in values.items():
        for value in own:
            producer.produce(topic.topic, value, partition=partition)
            producer.poll(0)
    assert producer.flush(30) == 0


def stream(topic: Topic) -> Stream:
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
        }
    )


def rows(count: int, first: int = 0) -> list[bytes]:
    """Return numbered rows as JSON."""
    return [json.dumps({"t": at, "a": at}).encode() for at in range(first, first + count)]


def read(
    plan: Plan, topic: Topic, newest: Mapping[str, int] | None = None
) -> tuple[list[Batch], list[dict[str, Any]], list[Tally]]:
    """Read ranges, and return batches, rejects and tallies."""
    found: dict[str, list[Any]] = {"batches": [], REJECTS: [], TALLIES: []}
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        outputs = pipeline | ReadRanges(plan.ranges, topic, stream(topic), newest or {})
        for name in found:
            _ = outputs[name] | f"keep {name}" >> beam.ParDo(Keep(name))
    for name, into in found.items():
        into.extend(KEPT.pop(name, []))
    rejects = [row for table in found[REJECTS] for row in table.to_pylist()]
    return found["batches"], rejects, found[TALLIES]


KEPT: dict[str, list[Any]] = {}


class Keep(beam.DoFn):
    """Keeps elements in this process."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process(self, element: Any) -> None:
        """Keep one."""
        KEPT.setdefault(self.name, []).append(element)


def places(batches: Sequence[Batch]) -> list[tuple[str, int]]:
    """Return where the rows of batches are from."""
    return sorted((batch.path, row) for batch in batches for row in batch.table[ROW].to_pylist())


def test_ranges_read_every_message_once(topic: Topic) -> None:
    """Whatever the size of the ranges, all of them together have each message once."""
    produce(topic, {0: rows(70), 1: rows(30)})
    committed: dict[int, int] = {}
    seen: list[tuple[str, int]] = []
    behind = []
    while (plan := next_ranges(topic, committed, 25)).ranges:
        batches, rejects, tallies = read(plan, topic)
        again, _, _ = read(plan, topic)  # as after a crash
        assert places(again) == places(batches)
        assert rejects == []
        assert sum(tally.rows for tally in tallies) == len(places(batches))
        seen += places(batches)
        committed = plan.positions
        behind.append(plan.behind)
    assert behind == [50, 20, 0]
    name = topic.topic
    assert sorted(seen) == [
        *((f"{name}/0", at) for at in range(70)),
        *((f"{name}/1", at) for at in range(30)),
    ]
    assert committed == end_offsets(topic) == {0: 70, 1: 30}


def test_a_tally_knows_the_newest_event_time(topic: Topic) -> None:
    """The newest time of a range is that of its rows or of those before."""
    produce(topic, {0: rows(5, 100), 1: rows(5, 10)})
    newest = {f"{topic.topic}/1": 50_000_000}
    batches, _, tallies = read(next_ranges(topic, {}, 100), topic, newest)
    assert {tally.path[-2:]: tally.latest for tally in tallies} == {
        "/0": 104_000_000,
        "/1": 50_000_000,
    }
    assert {batch.path[-2:]: batch.latest for batch in batches} == {"/0": None, "/1": 50_000_000}


def test_the_first_run_may_begin_at_the_end(topic: Topic) -> None:
    """With `start: latest` what is there already is never read, and what comes then is."""
    late = topic.model_copy(update={"start": "latest"})
    produce(topic, {0: rows(7)})
    plan = next_ranges(late, {}, 100)
    assert (plan.ranges, plan.positions) == ([], {0: 7, 1: 0})
    produce(topic, {0: rows(1), 1: rows(2)})
    assert next_ranges(late, plan.positions, 100).ranges == [Range(0, 7, 8), Range(1, 0, 2)]


def test_deleted_messages_are_told(topic: Topic) -> None:
    """Messages that were deleted before they were read are named, and reading goes on after."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    produce(topic, {0: rows(50)})
    admin = AdminClient({"bootstrap.servers": topic.servers})
    part = TopicPartition(topic.topic, 0, 30)
    admin.delete_records([part])[TopicPartition(topic.topic, 0)].result()
    plan = next_ranges(topic, {0: 10, 1: 0}, 100)
    assert plan.ranges == [Range(0, 30, 50)]
    assert "offsets 10 to 29 were deleted before they were read" in plan.notes[0]
    with pytest.raises(Exception, match="messages were deleted before they were read"):
        read(replace(plan, ranges=[Range(0, 10, 50)]), topic)


def test_a_topic_made_anew_is_noticed(topic: Topic) -> None:
    """Offsets beyond the end, or of a partition that is no more, are of another topic."""
    produce(topic, {0: rows(3)})
    for committed in ({0: 4, 1: 0}, {0: 1, 1: 0, 2: 0}):
        with pytest.raises(SourceError, match="the topic was made anew"):
            next_ranges(topic, committed, 100)


def test_ranges_end_where_no_message_is(topic: Topic) -> None:
    """The marks of a transaction have offsets and no message; an aborted one's are not read."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": topic.servers, "transactional.id": topic.topic})
    producer.init_transactions()
    for commits in (True, False):
        producer.begin_transaction()
        for value in rows(4):
            producer.produce(topic.topic, value, partition=0)
        if commits:
            producer.commit_transaction()
        else:
            producer.flush()
            assert end_offsets(topic)[0] == 5  # what is not decided is not there yet
            producer.abort_transaction()
    plan = next_ranges(topic, {}, 100)
    assert plan.ranges == [Range(0, 0, 10)]
    begun = time.monotonic()
    assert [row for _, row in places(read(plan, topic)[0])] == [0, 1, 2, 3]
    assert time.monotonic() - begun < 10


def test_poison_messages_are_rejected_alone(topic: Topic) -> None:
    """What cannot be read is in the rejects with its offset; each row counts once."""
    bad: list[Value] = [b"\xff", None, b'{"t": 1, "a": "x"}', b'[{"t": 2}, 3]']
    produce(topic, {0: [*rows(2), *bad, *rows(2)]})
    batches, rejects, (tally,) = read(next_ranges(topic, {}, 100), topic)
    name = topic.topic
    assert places(batches) == [(f"{name}/0", at) for at in (0, 1, 6, 7)] + [
        (f"{name}/0@", 5 * 2**20)
    ]
    assert {(r["path"], r["row"]): r["reason"] for r in rejects} == {
        (f"{name}/0", 2): "json",
        (f"{name}/0", 3): "tombstone",
        (f"{name}/0", 4): "type",
        (f"{name}/0@5", 1): "json",
    }
    assert (tally.rows, tally.rejected) == (9, 4)


def test_large_messages_are_read(broker: Broker) -> None:
    """A message larger than a fetch usually is takes its turn like others."""
    create(broker, "large", **{"max.message.bytes": "20000000"})
    topic = a_topic(broker, "large")
    text = b'{"t": 1, "a": 1, "more": "' + b"x" * 8_000_000 + b'"}'
    produce(topic, {0: [text, *rows(2), text]}, **{"message.max.bytes": 20_000_000})
    assert len(places(read(next_ranges(topic, {}, 100), topic)[0])) == 4


def test_an_unknown_topic_is_named(broker: Broker, topic: Topic) -> None:
    """The error names the topic and its nearest neighbour, and asking creates none."""
    wrong = a_topic(broker, topic.topic + "s")
    for _ in range(2):
        with pytest.raises(SourceError, match=rf"no topic '{wrong.topic}' \(did you mean "):
            end_offsets(wrong)


def test_a_broker_that_is_down_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One sentence says that no broker answers, and nothing else is printed; later it works."""
    monkeypatch.setattr(client, "PATIENCE", 2.0)
    with kafka_broker(start=False) as broker:
        topic = a_topic(broker, "later")
        with pytest.raises(SourceError, match=f"^{broker.address}: no broker answers; check"):
            end_offsets(topic)
        broker.start()
        create(broker, "later")
        assert end_offsets(topic) == {0: 0, 1: 0}
    assert "".join(capfd.readouterr()) == ""


def test_a_login_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right password opens the topic; others are refused by name, and never printed."""
    monkeypatch.setattr(client, "PATIENCE", 5.0)
    with kafka_broker(users={"ann": "secret"}) as broker:

        def login(password: str, mechanism: str = "PLAIN") -> Topic:
            (tmp_path / password).write_text(password + "\n")
            security = {
                "protocol": "SASL_PLAINTEXT",
                "mechanism": mechanism,
                "username": "ann",
                "password_file": str(tmp_path / password),
            }
            return a_topic(broker, "t", security=security)

        with pytest.raises(SourceError, match="no topic 't'"):  # so it is let in
            end_offsets(login("secret"))
        for given in (login("guess"), login("secret", "SCRAM-SHA-256")):
            with pytest.raises(SourceError, match="the brokers refuse the user 'ann'") as told:
                end_offsets(given)
            assert "guess" not in str(told.value)
        with pytest.raises(SourceError, match="no broker answers"):
            end_offsets(a_topic(broker, "t", security={"protocol": "SSL"}))


def messages_of(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    """Return keys and values of a topic of records."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": topic.servers, "group.id": "x", "log_level": 0})
    ends = end_offsets(topic)
    consumer.assign([TopicPartition(topic.topic, number, 0) for number in ends])
    found: list[tuple[str, dict[str, Any]]] = []
    while len(found) < sum(ends.values()):
        found += [
            (str(message.key(), "utf-8"), json.loads(message.value()))  # type: ignore[arg-type]
            for message in consumer.consume(100, 1.0)
        ]
    consumer.close()
    return found


def finding(identity: str, revision: int = 0) -> pa.Table:
    """Return a finding."""
    row: dict[str, Any] = {
        field.name: 0 if pa.types.is_integer(field.type) else "x"
        for field in FINDING
        if not field.nullable and not pa.types.is_boolean(field.type)
    }
    row |= {"id": identity, "alarm": True, "revision": revision, "effect": float("inf")}
    return pa.Table.from_pylist([row], FINDING)


def test_findings_have_their_id_as_key(topic: Topic) -> None:
    """Sent twice and revised, the last message of each key is each finding once."""
    records = RecordTopics(servers=topic.servers, findings=topic.topic)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tables = pipeline | beam.Create([finding("a"), finding("b")])
        _ = tables | WriteTopic(records, "findings")
    publish_records({"findings": pa.concat_tables([finding("a"), finding("b", 1)])}, records)
    found = messages_of(topic)
    assert len(found) == 4
    assert {key: value["revision"] for key, value in found} == {"a": 0, "b": 1}
    assert all(key == value["id"] and value["effect"] is None for key, value in found)


def test_forecasts_and_rejects_have_keys_of_their_rows(topic: Topic) -> None:
    """The key of a forecast is its time, or its row without one; that of a reject is its row."""
    forecast = {
        "stream": "s",
        "key": "{}",
        "target": "y",
        "levels": [],
        "quantiles": [],
        "lower": 0.0,
        "upper": 1.0,
        "model_id": "m",
        "calibration": "c",
        "path": "t/0@",
        "row": 3 * 2**20 + 1,
    }
    reject = {"stream": "s", "path": "f", "row": 2, "reason": "r", "detail": "d", "raw": "\u2028"}
    records = RecordTopics(servers=topic.servers, forecasts=topic.topic, rejects=topic.topic)
    timed = forecast | {"valid_time": datetime(2026, 1, 2, tzinfo=UTC)}
    publish_records(
        {
            "findings": finding("left out"),
            "forecasts": pa.Table.from_pylist([forecast, timed], FORECAST),
            "rejects": pa.Table.from_pylist([reject], REJECT),
        },
        records,
    )
    found = dict(messages_of(topic))
    assert set(found) == {"s|{}|y|t/0@3|1", "s|{}|y|2026-01-02T00:00:00.000000+00:00", "s|f|2"}
    assert found["s|f|2"]["raw"] == "\u2028"


def test_a_record_that_cannot_be_sent_is_told(broker: Broker, topic: Topic) -> None:
    """A missing topic and a message that is too large are errors of one sentence."""
    with pytest.raises(OutputError, match="there is no topic 'none'"):
        publish_records(
            {"findings": finding("a")}, RecordTopics(servers=broker.address, findings="none")
        )
    records = RecordTopics(servers=broker.address, findings=topic.topic)
    with pytest.raises(OutputError, match="a message is too large for it"):
        publish_records({"findings": finding(token_hex(1_000_000))}, records)


@pytest.mark.parametrize("kind", ["json", "arrow"])
def test_a_table_is_replayed_in_order_of_time(topic: Topic, kind: str, tmp_path: Path) -> None:
    """What was sent from a table is read as its rows, and in time at the speed asked for."""
    times = pl.datetime_range(
        pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 1, 0, 10), "1s", eager=True
    )
    table = pl.DataFrame({"t": times, "a": range(len(times))}).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    table.write_parquet(tmp_path / "t.parquet")
    own = topic.model_copy(update={"format": kind})
    said: list[str] = []
    begun = time.monotonic()
    assert replay(str(tmp_path / "t.parquet"), stream(own), 300.0, said.append) == 601
    assert 2.0 <= time.monotonic() - begun < 10
    assert said[-1] == "601 of 601 rows, event time 2026-01-01 00:10:00 UTC"
    batches, rejects, _ = read(next_ranges(own, {}, 10_000), own)
    assert rejects == []
    assert sorted(v for b in batches for v in b.table["a"].to_pylist()) == list(range(601))
    for batch in batches:
        assert batch.table["t"].to_pylist() == sorted(batch.table["t"].to_pylist())


def test_brokers_over_tls_are_reached_by_who_knows_them(tmp_path: Path) -> None:
    """With password and authority it is read; without the authority there is one sentence."""
    certificate, key = write_certificate(tmp_path)
    (tmp_path / "password").write_text("secret\n")
    with kafka_broker(users={"ann": "secret"}, certificate=(certificate, key)) as broker:
        security = {
            "protocol": "SASL_SSL",
            "mechanism": "PLAIN",
            "username": "ann",
            "password_file": str(tmp_path / "password"),
            "ca_file": str(certificate),
        }
        topic = a_topic(broker, "safe", security=security)
        settings = client.connection(topic)
        create_topic(broker.address, "safe", settings)
        produce(topic, {0: [b'{"a": 1}', b'{"a": 2}']}, **settings)
        assert end_offsets(topic) == {0: 2}
        stranger = a_topic(broker, "safe", security={**security, "ca_file": None})
        with pytest.raises(SourceError, match=r"(?i)certificate|ssl"):
            end_offsets(stranger)


def test_nothing_is_read_behind_where_a_run_ends(topic: Topic) -> None:
    """A run over a live topic takes what was there when it began, and stops."""
    produce(topic, {0: [b"{}"] * 3, 1: [b"{}"] * 3})
    until = end_offsets(topic)
    produce(topic, {0: [b"{}"] * 5})
    plan = next_ranges(topic, {}, 2, until)
    assert plan.positions == {0: 2, 1: 2}
    plan = next_ranges(topic, plan.positions, 100, until)
    assert plan.ranges == [Range(0, 2, 3), Range(1, 2, 3)]
    assert next_ranges(topic, plan.positions, 100, until).ranges == []
