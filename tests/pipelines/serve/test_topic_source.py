from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitors import findings_tally
from pipelines.kafka.sink import to_messages
from pipelines.serve.topic_source import TopicSource, _Findings
from schemas.errors import SourceError
from schemas.records import FINDING, Finding
from schemas.stream import Stream
from tests.run_folders import weather_stream
from tests.servers import free_port, wait_until
from tests.servers.kafka import Broker, kafka_broker

HOUR = timedelta(hours=1)
T0 = datetime(2013, 1, 7, tzinfo=UTC)
NAME = "nyc-weather"
TOPIC = "findings"


@dataclass
class FakeMessage:
    """What a consumer gives."""

    body: bytes | None
    at: int = 1_388_469_612_300

    def value(self) -> bytes | None:
        """Return the body."""
        return self.body

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the time, and milliseconds."""
        return 1, self.at

    def topic(self) -> str:
        """Return the topic's name."""
        return TOPIC

    def partition(self) -> int:
        """Return the partition."""
        return 3

    def offset(self) -> int:
        """Return the offset."""
        return 14


def row(window: int = 0, subject: str = "x", **changes: Any) -> dict[str, Any]:
    """Return a finding."""
    values: dict[str, Any] = {
        "stream": NAME,
        "key": "{}",
        "window_start": T0 + window * HOUR,
        "window_end": T0 + (window + 1) * HOUR,
        "window_index": None,
        "monitor": "feature_shift",
        "method": "moments",
        "subject": subject,
        "status": "tested",
        "statistic": 1.2,
        "threshold": 3.0,
        "p_value": 0.06,
        "effect": 0.1,
        "alarm": False,
        "rank": 1,
        "explanation": "",
        "rows": 24,
        "baseline_id": "b",
    }
    return Finding(**(values | changes)).as_row()


def written(rows: Sequence[dict[str, Any]]) -> list[tuple[bytes, bytes]]:
    """Return findings as the sink writes them: key and value."""
    return to_messages("findings", pa.Table.from_pylist(list(rows), schema=FINDING))


def encoded(rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Return rows as messages."""
    return [FakeMessage(value) for _, value in written(rows)]


def values(families: Sequence[Any]) -> dict[str, float]:
    """Return the series by name and labels but the stream's."""
    found = {}
    for family in families:
        for sample in family.samples:
            labels = [v for k, v in sorted(sample.labels.items()) if k != "stream"]
            found[":".join([sample.name.removeprefix("tidegauge_"), *labels])] = sample.value
    return found


def told(*batches: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what is exported of findings that come in these batches."""
    findings = _Findings(weather_stream())
    for rows in batches:
        findings.add(encoded(rows))
    return values(findings.families(()))


def test_findings_are_counted_and_the_latest_window_shown() -> None:
    """Alarms, features, windows and times are those of the messages."""
    rows = [row(w, s, key=k) for w in range(5) for s in "xy" for k in ('{"k":1}', '{"k":2}')]
    rows += [row(4, "z", key='{"k":2}', alarm=True, statistic=9.5)]
    exported = told(rows)
    assert exported["alarms_total:feature_shift"] == 1
    assert exported["alarm_active:feature_shift"] == 1
    assert exported["feature_drift_top_score:z"] == 9.5
    assert exported["features_tested"] == 3
    assert exported["windows_closed_total"] == 10
    assert exported["feature_drift_score_count"] == 21
    assert exported["watermark_timestamp_seconds"] == (T0 + 5 * HOUR).timestamp()
    assert exported["last_commit_timestamp_seconds"] == 1388469612.3


def test_alarm_is_told_in_words_and_without_a_page() -> None:
    """A topic's alarm has its sentence, kind and time; no page, for there are no rows."""
    alarm = row(alarm=True, statistic=9.0, explanation="x is stuck", kind="stuck", since=T0)
    told_of = [name for name in told([alarm]) if name.startswith("alarm_info:")]
    labels = "is stuck", alarm["id"], "", "stuck", "feature_shift", "", "1"
    assert told_of == [":".join(["alarm_info", *labels, f"{T0:%Y-%m-%d %H:%M} UTC", "x"])]


def test_findings_of_an_earlier_version_are_read() -> None:
    """A topic may hold findings from before there were kinds."""
    (_, value), *_ = written([row(alarm=True, statistic=9.0)])
    old = {k: v for k, v in json.loads(value).items() if k not in {"kind", "since"}}
    findings = _Findings(weather_stream())
    findings.add([FakeMessage(json.dumps(old).encode())])  # type: ignore[list-item]
    assert any(name.startswith("alarm_info:") for name in values(findings.families(())))


def test_all_keys_together_are_no_window_of_their_own() -> None:
    """Findings under the key `*` are about windows that have been counted."""
    assert told([row(0, key='{"k":1}'), row(0, key="*")])["windows_closed_total"] == 1


def test_copies_count_once() -> None:
    """However often and in whatever batches the job writes a finding, the numbers are the same."""
    rows = [row(w, s, alarm=w % 3 == 0) for w in range(9) for s in "xyz"]
    rows += [row(7, "x", revision=1, alarm=True)]
    once = told(rows)
    assert told(rows, rows[20:], rows[5:9], rows) == once
    assert told(*([each, each] for each in rows)) == once


def test_revision_replaces_what_is_shown_and_adds_to_what_is_counted() -> None:
    """An alarm that is withdrawn is active no more, and was one; an older revision is a copy."""
    exported = told([row(0, alarm=True, statistic=9.0)], [row(0, revision=2)], [row(0, revision=1)])
    assert exported["alarm_active:feature_shift"] == 0
    assert exported["alarms_total:feature_shift"] == 1
    assert exported["findings_revised_total"] == 1
    assert exported["feature_drift_score_count"] == 2


def test_other_streams_and_tombstones_are_left_out() -> None:
    """A topic may be shared, and compacted."""
    findings = _Findings(weather_stream())
    messages: list[Any] = [FakeMessage(None)]
    findings.add(encoded([row(0), row(1, stream="other")]) + messages)
    assert values(findings.families(()))["windows_closed_total"] == 1


def test_message_that_is_no_finding_is_told_and_left_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With its place; not every one of a thousand, and the others count."""
    findings = _Findings(weather_stream())
    poison = [b"", b"{", b"[]", b"\xff", b'{"id": "a", "window_end": "soon"}']
    messages: list[Any] = [FakeMessage(body) for body in [*poison, *[b"null"] * 95]]
    findings.add(messages + encoded([row(0)]))
    assert values(findings.families(()))["windows_closed_total"] == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("findings/3 offset 14: no finding, and left out: ")
    assert lines[0].endswith("; 1 so far")
    assert lines[2].endswith("; 100 so far")


def test_windows_counted_in_rows_are_followed() -> None:
    """They have an index and no time."""
    no_time: dict[str, Any] = {"window_start": None, "window_end": None}
    exported = told([row(window_index=i, statistic=float(i), **no_time) for i in range(4)])
    assert exported["windows_closed_total"] == 4
    assert exported["feature_drift_top_score:x"] == 3
    assert "watermark_timestamp_seconds" not in exported


def test_memory_does_not_grow_with_the_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest window and a bounded number of ids are kept, and every count is right."""
    monkeypatch.setattr(findings_tally, "REMEMBERED", 50)
    findings = _Findings(weather_stream())
    for window in range(200):
        rows = [row(window, f"x{i}", alarm=i == 3) for i in range(10)]
        findings.add(encoded([*rows, *rows]))
        recents = (findings._ids, findings._windows, findings._tally._alarmed)
        assert all(len(r._young) + len(r._old) <= 100 for r in recents)
        assert findings._tally._latest.height == 10
    exported = values(findings.families(()))
    assert exported["alarms_total:feature_shift"] == 200
    assert exported["feature_drift_score_count"] == 2000


def test_series_do_not_grow_with_keys_and_features() -> None:
    """Fifty keys of two hundred features have as many series as a few, but those asked for."""
    findings = _Findings(weather_stream())
    keys = [f'{{"k":{i}}}' for i in range(50)]
    findings.add(encoded([row(0, f"x{i:03}", key=key) for key in keys for i in range(200)]))
    exported = values(findings.families(["x199"]))
    assert sum(name.startswith("feature_drift_top_score:") for name in exported) == 21
    assert exported["feature_series_dropped"] == 179
    assert len(exported) < 100


def test_stream_without_a_topic_of_findings_is_a_source_error() -> None:
    """The key of the stream file is named."""
    with pytest.raises(SourceError, match="under `sinks: kafka: findings:`"):
        TopicSource(weather_stream())


def with_topic(servers: str, topic: str = TOPIC) -> Stream:
    """Return the stream with a topic of findings."""
    sinks = {"sinks": {"kafka": {"servers": servers, "findings": topic}}}
    return Stream.model_validate(weather_stream().model_dump(mode="json") | sinks)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Run a Kafka broker."""
    with kafka_broker() as started:
        yield started


def create(address: str, topic: str) -> None:
    """Create a topic of three partitions."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    client = AdminClient({"bootstrap.servers": address})
    client.create_topics([NewTopic(topic, 3, 1)])[topic].result(timeout=30)


def produce(address: str, topic: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write findings, keyed by their id."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address})
    for key, value in written(rows):
        producer.produce(topic, value, key)
    assert producer.flush(30) == 0


def until_ready(source: TopicSource) -> dict[str, float]:
    """Wait until a source has read its topic; return what it exports."""
    wait_until(lambda: not source.missing(), patience=60, what="ready")
    return values(source.families())


@pytest.mark.integration
def test_topic_is_rebuilt_and_followed(broker: Broker, rng: np.random.Generator) -> None:
    """A second reader of the same topic has the same numbers; what comes later is followed."""
    create(broker.address, "followed")
    rows = [row(w, f"x{i}", alarm=i == w % 40 == 7) for w in range(50) for i in range(20)]
    copies = [rows[i] for i in rng.integers(0, len(rows), 300)]
    produce(broker.address, "followed", rows + copies)
    stream = with_topic(broker.address, "followed")
    first, second = TopicSource(stream), TopicSource(stream)
    try:
        exported = until_ready(first)
        assert exported == until_ready(second)
        assert exported["feature_drift_score_count"] == 1000
        assert exported["windows_closed_total"] == 50
        assert exported["alarms_total:feature_shift"] == 2
        produce(broker.address, "followed", [*rows[-20:], row(50, "x3", alarm=True)])
        wait_until(lambda: values(first.families())["alarms_total:feature_shift"] == 3, patience=30)
        assert values(first.families())["feature_drift_score_count"] == 1001
    finally:
        first.close()
        second.close()


@pytest.mark.integration
def test_empty_topic_is_ready(broker: Broker) -> None:
    """There is nothing to wait for; every monitor that is on stands at 0."""
    create(broker.address, "empty")
    source = TopicSource(with_topic(broker.address, "empty"))
    try:
        assert until_ready(source)["alarms_total:feature_shift"] == 0
    finally:
        source.close()


@pytest.mark.integration
def test_missing_topic_is_an_error_or_waited_for(broker: Broker) -> None:
    """Without `wait` it is a sentence; with it, the source is ready once the topic is there."""
    stream = with_topic(broker.address, "later")
    with pytest.raises(SourceError, match="there is no topic 'later'"):
        TopicSource(stream)
    source = TopicSource(stream, wait=True)
    try:
        wait_until(lambda: "there is no topic 'later'" in source.missing(), patience=30)
        assert source.families() == []
        create(broker.address, "later")
        produce(broker.address, "later", [row(0)])
        assert until_ready(source)["windows_closed_total"] == 1
    finally:
        source.close()


@pytest.mark.integration
def test_broker_that_comes_late_and_goes_away(capfd: pytest.CaptureFixture[str]) -> None:
    """Waited for at the start; the last numbers stay while it is away, and go on afterwards."""
    with kafka_broker(start=False) as broker:
        source = TopicSource(with_topic(broker.address), wait=True)
        try:
            wait_until(lambda: "no broker answers" in source.missing(), patience=60)
            broker.start()
            create(broker.address, TOPIC)
            produce(broker.address, TOPIC, [row(0), row(1)])
            assert until_ready(source)["windows_closed_total"] == 2
            broker.kill()
            time.sleep(3)
            assert source.missing() == ""
            assert values(source.families())["windows_closed_total"] == 2
            broker.start()
            produce(broker.address, TOPIC, [row(1), row(2)])
            wait_until(lambda: values(source.families())["windows_closed_total"] == 3, patience=60)
            source.check()
        finally:
            source.close()
    lines = capfd.readouterr().err.splitlines()
    assert "no broker answers" in lines[0]
    assert len(lines) < 10


@pytest.mark.integration
def test_broker_that_is_not_there_is_a_source_error() -> None:
    """The address is named, and what to look at."""
    with pytest.raises(SourceError, match=r"no broker answers.*; check `servers:`"):
        TopicSource(with_topic(f"127.0.0.1:{free_port()}"))
