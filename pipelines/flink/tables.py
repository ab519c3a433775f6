"""The topics as tables of Flink's SQL, whose Kafka connector knows partitions, keys and headers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.kafka.sink import topic_of
from schemas.errors import SourceError
from schemas.kafka import Brokers, Topic
from schemas.sinks import RecordTopics
from schemas.stream import Stream

RECORDS = ("findings", "forecasts", "rejects")
_TRANSACTION = 15 * 60 * 1000  # ms; the brokers' limit, if nobody has changed it
_BATCH_MS = 200  # messages of a partition that travel together
_SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"


def source_table(stream: Stream, topic: Topic) -> str:
    """Return the SQL of the table `messages`."""
    columns = [
        "`key` BYTES",
        "`value` BYTES",
        "`partition` INT METADATA VIRTUAL",
        "`offset` BIGINT METADATA VIRTUAL",
        "`time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL",
        "headers MAP<STRING, BYTES> METADATA VIRTUAL",
        "came AS PROCTIME()",
    ]
    options = {
        "connector": "kafka",
        "topic": topic.topic,
        "properties.group.id": f"tidegauge-{stream.name}",
        "properties.isolation.level": "read_committed",
        "scan.startup.mode": f"{topic.start}-offset",
        "scan.topic-partition-discovery.interval": "0",  # the job knows the partitions at its start
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **connection(topic),
    }
    return _create("messages", columns, options)


def batches(topic: Topic, lanes: Mapping[int, int]) -> str:
    """Return the SQL of the messages of a partition that came together, as columns.

    The first column is the lane, the second a row: the partition, then arrays of offsets, values,
    keys, times in ms and of each header of the envelope. Arrays that nobody needs are left out.
    """
    lane = " ".join(f"WHEN {partition} THEN {lane}" for partition, lane in lanes.items())
    arrays = ", ".join(f"ARRAY_AGG({column})" for column in array_columns(topic))
    return (
        f"SELECT CASE `partition` {lane} END AS lane, ROW(`partition`, {arrays}) AS batch "  # noqa: S608 (numbers)
        "FROM TABLE(TUMBLE(TABLE messages, DESCRIPTOR(came), "
        f"INTERVAL '{_BATCH_MS / 1000}' SECOND)) GROUP BY `partition`, window_start, window_end"
    )


def array_columns(topic: Topic) -> list[str]:
    """Return the columns of messages that a batch has, as SQL."""
    envelope = topic.envelope
    columns = ["`offset`", "`value`"]
    if envelope.key is not None:
        columns.append("`key`")
    if envelope.timestamp is not None:
        millis = "EXTRACT(EPOCH FROM `time`) * 1000 + EXTRACT(MILLISECOND FROM `time`)"
        columns.append(f"CAST({millis} AS BIGINT)")
    columns += [f"headers[{_text(name)}]" for name in header_names(topic)]
    return columns


def header_names(topic: Topic) -> list[str]:
    """Return the headers that the envelope takes, each once."""
    return sorted(set(topic.envelope.headers.values()))


def sink_table(stream: Stream, records: RecordTopics) -> str:
    """Return the SQL of the table `told`, which writes all records, in transactions."""
    told = sorted(set(topics(records).values()))
    columns = ["`key` BYTES", "`value` BYTES"]
    if len(told) > 1:  # else the connector does not know the column
        columns.append("`topic` STRING METADATA")
    options = {
        "connector": "kafka",
        "topic": ";".join(told),
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"tidegauge-{stream.name}",
        "properties.transaction.timeout.ms": str(_TRANSACTION),
        "properties.compression.type": "lz4",
        **connection(records),
    }
    return _create("told", columns, options)


def tell(records: RecordTopics) -> str:
    """Return the SQL that writes the table `records`: name, and an array of key and value."""
    told = topics(records)
    of_name = " ".join(f"WHEN {_text(name)} THEN {_text(topic)}" for name, topic in told.items())
    topic = f", CASE f0 {of_name} END" if len(set(told.values())) > 1 else ""
    return (
        f"INSERT INTO told SELECT k, v{topic} FROM records "  # noqa: S608 (quoted)
        "CROSS JOIN UNNEST(f1) AS own (k, v)"
    )


def topics(records: RecordTopics) -> dict[str, str]:
    """Return the topic of each kind of records that has one."""
    found = {name: topic_of(records, name) for name in RECORDS}
    return {name: topic for name, topic in found.items() if topic is not None}


def connection(brokers: Brokers) -> dict[str, str]:
    """Return the settings of the Java client that reach the brokers.

    Raises
    ------
    SourceError
        When a file with a secret cannot be read.
    """
    settings = {"bootstrap.servers": brokers.servers}
    security = brokers.security
    if security is not None:
        settings["security.protocol"] = security.protocol
        if security.mechanism is not None:
            module = "plain.Plain" if security.mechanism == "PLAIN" else "scram.Scram"
            password = _read(security.password_file).rstrip("\r\n")
            settings["sasl.mechanism"] = security.mechanism
            settings["sasl.jaas.config"] = (
                f"{_SHADED}.{module}LoginModule required "
                f"username={_quoted(security.username)} password={_quoted(password)};"
            )
        if security.ca_file is not None:
            settings["ssl.truststore.type"] = "PEM"
            settings["ssl.truststore.certificates"] = _read(security.ca_file)
        if security.certificate_file is not None:
            settings["ssl.keystore.type"] = "PEM"
            settings["ssl.keystore.certificate.chain"] = _read(security.certificate_file)
            settings["ssl.keystore.key"] = _read(security.key_file)
    return {f"properties.{name}": value for name, value in settings.items()}


def _read(path: str | None) -> str:
    assert path is not None  # noqa: S101 (the stream file was checked)
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        raise SourceError(f"{message}; correct `security:`") from error


def _create(name: str, columns: list[str], options: Mapping[str, str]) -> str:
    settings = ", ".join(f"{_text(key)} = {_text(value)}" for key, value in options.items())
    return f"CREATE TEMPORARY TABLE {name} ({', '.join(columns)}) WITH ({settings})"


def _text(value: str) -> str:
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


def _quoted(value: str | None) -> str:
    escaped = (value or "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
