"""``kill -9``, one process at a time, under load: does the Flink job tell what it would have told.

``python -m benchmarks.kill_nine [CASE ...]`` runs the job once undisturbed, and once for each case;
printed: a row of a Markdown table for each. It needs `scripts/install-integration-services`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.kafka_rows import (
    SITES,
    WINDOW,
    Told,
    as_json,
    feed,
    read_told,
    rows_of,
    stream_file,
)
from pipelines.fit import fit
from schemas.stream_file import load_stream
from tests.servers import Process
from tests.servers.flink import Cluster, flink_cluster
from tests.servers.flink_jobs import kill_workers, stop, submit
from tests.servers.kafka import Broker, kafka_broker
from tests.servers.topics import create_topic

WINDOWS, MOVED = 40, (20, 21)
PARTITIONS, PER_SECOND = 4, 4000
_AFTER = 8.0  # seconds of load before the kill
_PATIENCE = 120.0

#: What is done, given the cluster, the broker, the job's id and a way to start it anew.
Disturb = Callable[[Cluster, Broker, str, Callable[..., str]], Any]


def _restart(process: Process | Broker) -> None:
    process.kill()
    process.start()


def _upgrade(cluster: Cluster, _: Broker, job: str, start: Callable[..., str]) -> None:
    start(savepoint=stop(cluster, job), parallelism=1)


CASES: dict[str, Disturb] = {
    "undisturbed": lambda *_: None,
    "Python workers": lambda cluster, *_: kill_workers(cluster),
    "task manager": lambda cluster, *_: _restart(cluster.task_manager),
    "job manager": lambda cluster, *_: _restart(cluster.job_manager),
    "Kafka broker": lambda _cluster, broker, *_: _restart(broker),
    "stop with savepoint, parallelism 2 to 1": _upgrade,
}


def main() -> None:
    """Run the cases that are named, or all of them."""
    wanted = sys.argv[1:] or list(CASES)
    with TemporaryDirectory() as name, kafka_broker() as broker, flink_cluster() as cluster:
        folder = Path(name)
        rows_of(60, seed=0).write_parquet(folder / "reference.parquet")
        fit(load_stream(stream_file(folder)), folder / "baseline")
        rows = rows_of(WINDOWS + 1, seed=1, moved=MOVED)
        messages = as_json(rows)[: WINDOWS * WINDOW * len(SITES) + PARTITIONS * len(SITES)]
        print("| killed | told after | windows | findings | same ids | difference | twice | rows |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        expected: Told | None = None
        for case in dict.fromkeys(["undisturbed", *wanted]):
            told, pause = _run(cluster, broker, folder, messages, case)
            expected = expected or told
            _print(case, told, expected, pause)


def _run(
    cluster: Cluster,
    broker: Broker,
    folder: Path,
    messages: list[bytes],
    case: str,
) -> tuple[Told, float]:
    name = case.split(",", maxsplit=1)[0].replace(" ", "-").lower()
    source, sink = f"rows-{name}", f"findings-{name}"
    create_topic(broker.address, source, partitions=PARTITIONS)
    create_topic(broker.address, sink)
    file = stream_file(
        folder,
        source={"servers": broker.address, "topic": source, "format": "json"},
        sinks={"kafka": {"servers": broker.address, "findings": sink}},
    )

    def start(**options: Any) -> str:  # noqa: ANN401 (those of `submit`)
        return submit(cluster, file, folder / "baseline", **options)

    job = start()
    load = threading.Thread(
        target=feed,
        args=(broker.address, source, messages, PARTITIONS),
        kwargs={"per_second": PER_SECOND},
    )
    load.start()
    time.sleep(_AFTER)
    CASES[case](cluster, broker, job, start)
    load.join()
    fed = time.monotonic()
    told = read_told(broker.address, sink, windows=WINDOWS, patience=_PATIENCE)
    for running in _running(cluster):
        stop(cluster, running)
    return told, told.at - fed


def _running(cluster: Cluster) -> list[str]:
    """Return the jobs all of whose tasks run."""
    try:
        jobs: Any = cluster.get("/jobs/overview")["jobs"]
    except OSError:
        return []
    return [
        j["jid"]
        for j in jobs
        if j["state"] == "RUNNING" and j["tasks"]["running"] == j["tasks"]["total"]
    ]


def _print(case: str, told: Told, expected: Told, pause: float) -> None:
    own, theirs = told.last, expected.last
    shared = own.keys() & theirs.keys()
    gaps = [
        abs(own[i]["statistic"] - theirs[i]["statistic"]) / max(1.0, abs(theirs[i]["statistic"]))
        for i in shared
        if own[i]["statistic"] is not None and theirs[i]["statistic"] is not None
    ]
    rows = {(r["key"], r["window_start"]): r["rows"] for r in own.values() if r["key"] != "*"}
    same = own.keys() == theirs.keys()
    print(
        f"| {case} | {pause:.1f} s | {len(rows)} | {len(told.records)} | {same} | "
        f"{max(gaps, default=0):.0e} | {told.twice} | {sum(rows.values()):,} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
