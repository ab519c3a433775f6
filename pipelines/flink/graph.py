"""Puts the job together, and hands it to the cluster that the `flink` command was given."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipelines.flink.lanes import GROUPS, lanes, most_workers
from pipelines.flink.tables import batches, sink_table, source_table, tell, topics
from schemas.duration import parse_duration
from schemas.kafka import Topic
from schemas.stream import Stream
from schemas.stream_file import load_stream


def main() -> None:
    """Submit the job; `pipelines.flink.submit` checks the arguments."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("stream_file")
    arguments.add_argument("--baseline", required=True)
    arguments.add_argument("--partitions", required=True)
    arguments.add_argument("--parallelism", type=int, required=True)
    arguments.add_argument("--checkpoints", required=True)
    given = arguments.parse_args()
    stream = load_stream(Path(given.stream_file))
    partitions = [int(number) for number in given.partitions.split(",")]
    job = build(stream, given.baseline, partitions, given.parallelism, given.checkpoints)
    print(f"job {job.execute_async(f'tidegauge {stream.name}').get_job_id()}")  # noqa: T201 (to `submit`)


def build(
    stream: Stream, baseline: str, partitions: list[int], parallelism: int, checkpoints: str
) -> Any:
    """Return the environment that holds the job.

    Parameters
    ----------
    baseline : folder of baselines, which all workers can read.
    partitions : of the topic.
    checkpoints : time between them, such as "10 s".
    """
    from pyflink.common import Configuration, Duration, Types, WatermarkStrategy
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway
    from pyflink.table import DataTypes, Schema, StreamTableEnvironment

    from pipelines.flink.functions import (
        PART,
        ROLLED_TAG,
        TOLD,
        TOLD_TAG,
        Job,
        JudgeAllKeys,
        JudgeWindows,
        TakeIn,
        WatermarkOfPart,
        batch_type,
    )

    assert isinstance(stream.source, Topic)  # noqa: S101 (checked before)
    assert stream.sinks.kafka is not None  # noqa: S101 (checked before)
    settings = Configuration()
    for name, value in _settings(parallelism, checkpoints).items():
        settings.set_string(name, value)
    env = StreamExecutionEnvironment.get_execution_environment(settings)
    tables = StreamTableEnvironment.create(env)
    job = Job(stream, baseline, tuple(partitions), tuple(topics(stream.sinks.kafka)))

    java = get_gateway().jvm
    key_group = java.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    row = java.org.apache.flink.types.Row

    def group(number: int) -> int:
        key = row(1)
        key.setField(0, number)
        return int(key_group(key, GROUPS))

    tables.execute_sql(source_table(stream, stream.source))
    own = lanes(partitions, group)
    batch = batch_type(stream.source)
    messages = tables.to_append_stream(tables.sql_query(batches(stream.source, own)), batch)
    workers = most_workers(parallelism, partitions)
    intake = (
        _by_lane(messages, batch)
        .process(TakeIn(job), PART)
        .set_parallelism(workers)
        .name("take in")
        .uid("take-in")
    )
    idle = Duration.of_millis(round(parse_duration(stream.watermark.idle_after) * 1000))
    strategy = (
        WatermarkStrategy.for_monotonous_timestamps()
        .with_idleness(idle)
        .with_timestamp_assigner(WatermarkOfPart())  # last: `with_idleness` would drop it
    )
    env.set_parallelism(workers)  # dealt parts in turn, more of them would wait for each other
    marked = intake.assign_timestamps_and_watermarks(strategy)
    env.set_parallelism(parallelism)
    judged = (
        marked.key_by(lambda part: part[0], Types.STRING())
        .process(JudgeWindows(job), TOLD)
        .name("judge windows")
        .uid("judge-windows")
    )
    together = (
        judged.get_side_output(ROLLED_TAG)
        .key_by(lambda rolled: rolled[0], Types.STRING())
        .process(JudgeAllKeys(job), TOLD)
        .name("judge all keys")
        .uid("judge-all-keys")
    )
    told = judged.union(together, intake.get_side_output(TOLD_TAG))
    record = DataTypes.ROW(
        [DataTypes.FIELD("key", DataTypes.BYTES()), DataTypes.FIELD("value", DataTypes.BYTES())]
    )
    schema = (
        Schema.new_builder()
        .column("f0", DataTypes.STRING())
        .column("f1", DataTypes.ARRAY(record))
        .build()
    )
    tables.create_temporary_view("records", told, schema)
    tables.execute_sql(sink_table(stream, stream.sinks.kafka))
    statements = tables.create_statement_set()
    statements.add_insert_sql(tell(stream.sinks.kafka))
    statements.attach_as_datastream()
    return env


def _by_lane(stream: Any, kind: Any) -> Any:
    """Key a stream of rows by their first field, in Java: see `DataStream.key_by`."""
    from pyflink.common import Types
    from pyflink.datastream.data_stream import KeyedStream
    from pyflink.java_gateway import get_gateway

    lane, batch = kind.get_field_types()
    selector = get_gateway().jvm.KeyByKeySelector()
    keyed = stream._j_data_stream.keyBy(selector, Types.ROW([lane]).get_java_type_info())  # noqa: SLF001
    return KeyedStream(keyed, batch, stream)


def _settings(parallelism: int, checkpoints: str) -> dict[str, str]:
    return {
        "parallelism.default": str(parallelism),
        "pipeline.max-parallelism": str(GROUPS),
        "pipeline.auto-watermark-interval": "200 ms",
        "execution.checkpointing.interval": checkpoints,
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "python.fn-execution.bundle.time": "100",  # ms that results may wait for more
        "table.exec.uid.generation": "ALWAYS",  # savepoints fit the next version
        "table.exec.source.idle-timeout": "0",
    }
