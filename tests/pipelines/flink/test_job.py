"""The job on a real cluster, between real topics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.run_folder import open_run, read_tables
from tests.servers.flink import Cluster, flink_cluster
from tests.servers.flink_jobs import stop, submit
from tests.servers.kafka import Broker, kafka_broker
from tests.servers.topics import create_topic, send
from tests.small_streams import CURRENT_WEEKS, Outcome, Watched, current_rows, stream_file

pytestmark = pytest.mark.integration
COMPLETE = CURRENT_WEEKS - 1  # windows; the last one has no row after its end
POISON = b'{"time": "2024-08'


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Broker, Cluster]]:
    """Run Kafka and Flink."""
    with kafka_broker() as broker, flink_cluster() as cluster:
        yield broker, cluster


def records(servers: str, topic: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Read the committed records of a topic until there are enough, and no more come."""
    from confluent_kafka import Consumer, TopicPartition

    reader = Consumer(
        {"bootstrap.servers": servers, "group.id": "test", "isolation.level": "read_committed"}
    )
    reader.assign([TopicPartition(topic, 0, 0)])
    found: list[Any] = []
    give_up = time.monotonic() + 60
    try:
        while (message := reader.poll(0.5)) is not None or not enough(found):
            assert time.monotonic() < give_up, f"{topic}: {len(found)} records, and no more"
            if message is not None:
                assert message.error() is None
                found.append((message.key(), json.loads(message.value() or b"")))
    finally:
        reader.close()
    return found


def weeks(found: list[Any]) -> int:
    """Return how many windows findings are about."""
    return len({record["window_start"] for _, record in found})


def test_job_finds_what_a_run_finds(
    servers: tuple[Broker, Cluster], finished: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """Ids and statistics are those of `tidegauge run`, also after a stop, a savepoint and a change.

    The second half of the rows comes after the job was stopped, and started again with other
    parallelism and another alarm budget.
    """
    (broker, cluster), watched = servers, finished[0]
    for name, partitions in (("rows", 2), ("findings", 1), ("forecasts", 1), ("rejects", 1)):
        create_topic(broker.address, name, partitions=partitions)
    forecasts = json.loads(watched.file.read_text())["forecasts"]
    source = {"servers": broker.address, "topic": "rows", "format": "json"}
    topics = {name: name for name in ("findings", "forecasts", "rejects")}
    sinks = {"kafka": {"servers": broker.address, **topics}}
    file = stream_file(tmp_path, source=source, sinks=sinks, forecasts=forecasts)
    lines = [line.encode() for line in current_rows().write_ndjson().splitlines()]
    half = 4 * 168 + 10
    send(broker.address, "rows", [*lines[:half:2], POISON], partition=0)
    send(broker.address, "rows", lines[1:half:2], partition=1)

    job = submit(cluster, file, watched.baseline)
    records(broker.address, "findings", lambda found: weeks(found) == 4)
    saved = stop(cluster, job)
    changed = stream_file(
        tmp_path, source=source, sinks=sinks, forecasts=forecasts,
        alarms={"false": "1 per 100 windows"},
    )  # fmt: skip
    send(broker.address, "rows", lines[half::2], partition=0)
    send(broker.address, "rows", lines[half + 1 :: 2], partition=1)
    job = submit(cluster, changed, watched.baseline, parallelism=1, savepoint=saved)
    run = open_run(watched.run)
    expected = read_tables("findings", run.parts("findings")).collect()
    complete = sorted(expected["window_start"].unique())[:COMPLETE]
    by_id = {row["id"]: row for row in expected.to_dicts() if row["window_start"] in complete}
    told = records(broker.address, "findings", lambda found: len(found) >= len(by_id))
    forecast = records(broker.address, "forecasts", lambda found: len(found) >= len(lines))
    ((_, reject),) = records(broker.address, "rejects", lambda found: len(found) >= 1)
    stop(cluster, job)

    assert [key.decode() for key, _ in told] == [record["id"] for _, record in told]
    assert sorted(record["id"] for _, record in told) == sorted(by_id)  # none missing, none twice
    for _, record in told:
        own = by_id[record["id"]]
        assert record["statistic"] == pytest.approx(own["statistic"], rel=1e-9)
        assert (record["rows"], record["revision"]) == (own["rows"], 0)
    assert len({key for key, _ in forecast}) == len(forecast) == len(lines)
    assert (reject["reason"], reject["path"]) == ("json", "rows/0")
