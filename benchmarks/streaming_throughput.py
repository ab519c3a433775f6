"""Rows per second, and CPU seconds per million rows of twenty columns, from a topic to findings.

``python -m benchmarks.streaming_throughput`` fills a topic and has it read by a plain consumer that
only decodes, by ``tidegauge run`` and by the Flink job; printed: a Markdown table. The CPU of the
brokers counts nowhere; Flink's is that of the task manager and its Python workers, at full speed.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.kafka_rows import as_arrow, as_json, feed, rows_of, stream_file
from benchmarks.measure import BIN, run
from pipelines.fit import fit
from schemas.stream_file import load_stream
from tests.servers import read
from tests.servers.flink import Cluster, flink_cluster
from tests.servers.flink_jobs import cpu_seconds, stop, submit
from tests.servers.kafka import kafka_broker
from tests.servers.topics import create_topic

WINDOW = {"length": "1h"}  # 14,400 rows of four keys
MINUTES = {"arrow": 8000, "json": 2000}  # of event time in the topic
PARTITIONS = 2
_GIVE_UP = 400.0


@dataclass(frozen=True, slots=True)
class Speed:
    """What one reader took."""

    rows_per_second: float
    cpu: float  #: seconds per million rows


def main() -> None:
    """Print the table; the arguments are formats."""
    formats = sys.argv[1:] or list(MINUTES)
    print("| messages | reader | rows/s | CPU s per million rows |")
    print("| --- | --- | --- | --- |")
    with TemporaryDirectory() as name, kafka_broker() as broker:
        folder = Path(name)
        rows_of(120, seed=0).write_parquet(folder / "reference.parquet")
        fit(load_stream(stream_file(folder, window=WINDOW)), folder / "baseline")
        for kind in formats:
            rows = rows_of(MINUTES[kind] // 10, seed=1)
            create_topic(broker.address, kind, partitions=PARTITIONS)
            messages = as_arrow(rows) if kind == "arrow" else as_json(rows)
            feed(broker.address, kind, messages, PARTITIONS)
            create_topic(broker.address, f"findings-{kind}")
            file = stream_file(
                folder,
                window=WINDOW,
                source={"servers": broker.address, "topic": kind, "format": kind},
                sinks={"kafka": {"servers": broker.address, "findings": f"findings-{kind}"}},
            )
            for reader in ("decodes only", "`tidegauge run`", "Flink job"):
                speed = _measure(reader, file, folder, broker.address, rows.height)
                print(
                    f"| {kind} | {reader} | {speed.rows_per_second:,.0f} | {speed.cpu:.1f} |",
                    flush=True,
                )


def _measure(reader: str, file: Path, folder: Path, servers: str, rows: int) -> Speed:
    if reader == "Flink job":
        return _flink(file, folder / "baseline", rows)
    command: list[str | Path] = [BIN / "tidegauge", "run", file, "--out", folder / f"{rows}.run"]
    command += ["--baseline", folder / "baseline"]
    if reader == "decodes only":
        topic = json.loads(file.read_text())["source"]["topic"]
        module = "benchmarks.streaming_throughput"
        command = [sys.executable, "-m", module, "decode", servers, topic]
    cost = run(command)
    return Speed(rows / cost.wall, cost.cpu / rows * 1e6)


def decode(servers: str, topic: str) -> None:
    """Read a topic from its beginning to its end, and decode every message."""
    import pyarrow as pa
    from confluent_kafka import Consumer, TopicPartition

    reader = Consumer({"bootstrap.servers": servers, "group.id": "plain"})
    parts = [TopicPartition(topic, number, 0) for number in range(PARTITIONS)]
    ends = {part.partition: reader.get_watermark_offsets(part)[1] for part in parts}
    reader.assign(parts)
    left = sum(ends.values())
    while left:
        for message in reader.consume(1000, 1.0):
            value: Any = message.value()
            _ = pa.ipc.open_stream(value).read_all() if topic == "arrow" else json.loads(value)
            left -= 1
    reader.close()


def _flink(file: Path, baseline: Path, rows: int) -> Speed:
    """Measure between a fifth and most of the rows: the start of a job takes its time once."""
    with flink_cluster() as cluster:
        job = submit(cluster, file, baseline)
        seen: list[tuple[float, float, float]] = []
        give_up = time.monotonic() + _GIVE_UP
        while (used := _used(cluster)) < rows and time.monotonic() < give_up:
            seen.append((used, time.monotonic(), cpu_seconds(cluster)))
            time.sleep(0.2)
        seen = [one for one in seen if one[0] >= 0.2 * rows]
        (used, begun, cpu), (most, ended, cpu_then) = seen[0], seen[-1]
        stop(cluster, job)
    return Speed((most - used) / (ended - begun), (cpu_then - cpu) / (most - used) * 1e6)


def _used(cluster: Cluster) -> float:
    told = read(f"http://{cluster.metrics[1]}/metrics").splitlines()
    return sum(float(line.split()[-1]) for line in told if "partition_rows_used{" in line)


if __name__ == "__main__":
    if sys.argv[1:2] == ["decode"]:
        decode(*sys.argv[2:])
    else:
        main()
