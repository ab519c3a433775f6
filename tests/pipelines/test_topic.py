"""A topic of a real broker, run by run and followed: what the rows of its messages say."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from pipelines.run_folder import Run, open_run
from tests.conftest import FORECASTS
from tests.servers.kafka import Broker, kafka_broker
from tests.servers.topics import create_topic, send
from tests.small_streams import (
    HOURS,
    MOVED,
    REFERENCE_WEEKS,
    START,
    Watched,
    current_rows,
    stream_file,
    tidegauge,
)
from tests.watching import findings, following, wait_for, windows_are

pytestmark = pytest.mark.integration

FIRST = START + timedelta(weeks=REFERENCE_WEEKS)  # of the current rows


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """Give a broker for all tests."""
    with kafka_broker() as started:
        yield started


def watched_topic(small: Watched, broker: Broker, topic: str, **changes: Any) -> Watched:
    """Let the small stream read a topic of Arrow messages, of two partitions."""
    create_topic(broker.address, topic, partitions=2)
    source = {"servers": broker.address, "topic": topic, "format": "arrow"}
    stream_file(small.folder, **{"source": source, "forecasts": FORECASTS, **changes})
    return small


def send_rows(broker: Broker, topic: str, table: pl.DataFrame, partition: int = 0) -> None:
    """Send rows, a day a message."""
    messages = []
    for at in range(0, table.height, 24):
        own = table.slice(at, 24).to_arrow()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, own.schema) as writer:
            writer.write_table(own)
        messages.append(sink.getvalue().to_pybytes())
    send(broker.address, topic, messages, partition)


def ran(watched: Watched) -> Run:
    """Run, and return the run."""
    done = tidegauge("run", watched.file)
    assert done.code == 0, done.err
    return open_run(watched.run)


def in_files(watched: Watched, table: pl.DataFrame, folder: Path) -> Run:
    """Return the run over the same rows in a file."""
    table.write_parquet(folder / "all.parquet")
    stream = json.loads(watched.file.read_text())
    (folder / "stream.yaml").write_text(
        json.dumps(stream | {"source": {"path": str(folder / "all.parquet")}})
    )
    done = tidegauge("run", folder / "stream.yaml", "--baseline", watched.baseline)
    assert done.code == 0, done.err
    return open_run(folder / "stream.run")


def complete(run: Run, weeks: int) -> pl.DataFrame:
    """Return the findings of the first windows."""
    return findings(run).filter(pl.col("window_end") <= FIRST + timedelta(weeks=weeks))


def weeks_of(table: pl.DataFrame, weeks: Sequence[int]) -> pl.DataFrame:
    """Return the rows of some weeks."""
    return pl.concat([table.slice(week * HOURS, HOURS) for week in weeks])


def test_a_topic_says_what_its_rows_in_a_file_say(
    small: Watched, broker: Broker, tmp_path: Path
) -> None:
    """Two partitions, two runs, each from where the last one ended; every row once."""
    watched, table = watched_topic(small, broker, "whole"), current_rows()
    half = table.height // 2
    for at in (0, half):
        piece = table.slice(at, half)
        send_rows(broker, "whole", piece.gather_every(2, 0), 0)
        send_rows(broker, "whole", piece.gather_every(2, 1), 1)
        run = ran(watched)
        assert run.manifest["rows"]["used"] == at + half
    whole = in_files(watched, table, tmp_path)
    assert_frame_equal(complete(run, 7), complete(whole, 7), rel_tol=1e-9, abs_tol=1e-9)
    assert run.manifest["windows"] == 7  # the last one waits for the watermark
    assert ran(watched).manifest["progress"]["offsets"] == run.manifest["progress"]["offsets"]


def test_poison_is_rejected_and_its_neighbours_are_used(small: Watched, broker: Broker) -> None:
    """Messages that are none lie between good ones; they are counted, and told with their place."""
    watched, table = watched_topic(small, broker, "poison"), current_rows()
    send_rows(broker, "poison", weeks_of(table, [0]))
    send(broker.address, "poison", [b"\x00poison", b"", b"{}"])
    send_rows(broker, "poison", weeks_of(table, [1, 2]))
    run = ran(watched)
    assert run.manifest["rows"] == {"in": 507, "used": 504, "rejected": 3, "late": 0}
    assert set(run.table("rejects")["path"]) == {f"poison/0@{at}" for at in (7, 8, 9)} or set(
        run.table("rejects")["row"]
    ) == {7, 8, 9}
    assert run.manifest["windows"] == 2


def test_late_rows_are_decided_by_their_partition(small: Watched, broker: Broker) -> None:
    """However messages are fetched: what comes two weeks behind its partition is late."""
    watched, table = watched_topic(small, broker, "late"), current_rows()
    send_rows(broker, "late", weeks_of(table, [0, 1, 2, 3, 0]).with_row_index().drop("index"))
    run = ran(watched)
    assert run.manifest["rows"] == {"in": 840, "used": 672, "rejected": 0, "late": 168}
    assert set(run.table("rejects")["reason"]) == {"late"}
    assert set(run.table("findings")["rows"]) == {HOURS}


def test_followed_through_the_death_of_the_broker(small: Watched, broker: Broker) -> None:
    """Kill -9 the broker while it is followed: when it is back, the stream goes on."""
    watched, table = watched_topic(small, broker, "deadly"), current_rows()
    send_rows(broker, "deadly", weeks_of(table, [0, 1, 2]))
    process = following(watched)
    try:
        wait_for(watched, windows_are(2), process)
        broker.kill()
        broker.start()
        send_rows(broker, "deadly", weeks_of(table, [3, 4, 5, 6]))
        run = wait_for(watched, windows_are(6), process)
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert run.manifest["rows"]["used"] == 7 * HOURS
    assert set(run.table("findings").filter("alarm")["subject"]) == {MOVED}
