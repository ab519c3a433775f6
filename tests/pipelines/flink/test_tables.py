from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.flink.tables import array_columns, batches, connection, sink_table, tell
from schemas.errors import SourceError
from schemas.kafka import Brokers, Envelope, Security, Topic
from schemas.sinks import RecordTopics
from schemas.stream import Stream
from tests.small_streams import SENSORS


def stream() -> Stream:
    """Return a stream."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "sensors",
            "source": {"servers": "k:9092", "topic": "rows", "format": "json"},
            "reference": {"path": "r.parquet"},
            "time": {"column": "time"},
            "columns": {name: {"type": "number"} for name in SENSORS},
            "window": {"length": "7d"},
        }
    )


def test_password_comes_from_its_file_and_is_quoted(tmp_path: Path) -> None:
    """The Java client takes a password with any character, without the file's line break."""
    (tmp_path / "password").write_text('a"b\\c\n')
    security = Security(
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-512",
        username="ann",
        password_file=str(tmp_path / "password"),
    )
    settings = connection(Brokers(servers="k:9092", security=security))
    assert settings["properties.sasl.mechanism"] == "SCRAM-SHA-512"
    assert settings["properties.sasl.jaas.config"].endswith(
        'scram.ScramLoginModule required username="ann" password="a\\"b\\\\c";'
    )


def test_secret_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A file that is not there gives a sentence with its name."""
    security = Security(protocol="SSL", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        connection(Brokers(servers="k:9092", security=security))


def test_only_what_the_envelope_asks_for_travels() -> None:
    """Keys, times and headers cost; those that no column takes are left out."""
    bare = Topic(servers="k", topic="t", format="json")
    full = Topic(
        servers="k",
        topic="t",
        format="json",
        envelope=Envelope(key="site", timestamp="sent", headers={"unit": "u"}),
    )
    assert array_columns(bare) == ["`offset`", "`value`"]
    assert array_columns(full)[2] == "`key`"
    assert "MILLISECOND" in array_columns(full)[3]
    assert array_columns(full)[4] == "headers['u']"
    assert "CASE `partition` WHEN 0 THEN 17 WHEN 1 THEN 4 END" in batches(full, {0: 17, 1: 4})


def test_records_go_to_their_topics_in_transactions() -> None:
    """Each kind of records has its topic; names with quotes stay names."""
    records = RecordTopics(servers="k", findings="f", rejects="it's")
    assert "'sink.delivery-guarantee' = 'exactly-once'" in sink_table(stream(), records)
    assert "CASE f0 WHEN 'findings' THEN 'f' WHEN 'rejects' THEN 'it''s' END" in tell(records)


def test_single_topic_needs_no_column() -> None:
    """With one topic the connector refuses a column for it."""
    records = RecordTopics(servers="k", findings="f")
    assert "METADATA" not in sink_table(stream(), records)
    assert "CASE" not in tell(records)
