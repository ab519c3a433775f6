"""Rows to a page: broker, stream, exporter, Prometheus, Alertmanager, and whoever is told."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.conftest import FORECASTS
from tests.servers import free_port, read, running, wait_until
from tests.servers.flink import flink_cluster
from tests.servers.flink_jobs import submit
from tests.servers.kafka import kafka_broker
from tests.servers.topics import create_topic
from tests.small_streams import (
    HOURS,
    MOVED,
    MOVED_WEEK,
    ROOT,
    Watched,
    current_rows,
    start,
    stream_file,
    tidegauge,
)
from tests.watching import following

pytestmark = pytest.mark.integration

_PATIENCE = 60.0  # seconds
#: The rules and routes as they are deployed, but for their times: those of a test, not of a year.
_TIMES = {
    "interval: 1m": "interval: 1s",
    "keep_firing_for: 5m": "keep_firing_for: 2s",
    "group_wait: 1m": "group_wait: 0s",
    "group_wait: 10s": "group_wait: 0s",
    "group_interval: 5m": "group_interval: 1s",
}


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give the address of a server that takes notifications, and the alerts it was told of."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.extend(alert | {"at": time.time()} for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", told
    finally:
        server.shutdown()
        server.server_close()


def quickly(text: str) -> str:
    """Return a deployed file with the times of a test."""
    for deployed, here in _TIMES.items():
        text = text.replace(deployed, here)
    return text


@contextmanager
def exporter(source: Path) -> Iterator[str]:
    """Serve a run folder, or a stream file's topic, before there is one; give the address."""
    address = f"127.0.0.1:{free_port()}"
    process = start("serve", source, "--listen", address, "--wait")
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@contextmanager
def embedded(watched: Watched) -> Iterator[Path]:
    """Follow the stream by a process of our own; give what the exporter serves."""
    process = following(watched)
    try:
        yield watched.run
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@contextmanager
def on_flink(watched: Watched) -> Iterator[Path]:
    """Follow the stream by a job on a cluster with two slots; give what the exporter serves."""
    with flink_cluster(slots=2) as cluster:
        submit(cluster, watched.file, watched.baseline, parallelism=2)
        yield watched.file


@contextmanager
def alerting(scraped: str, hook: str, folder: Path) -> Iterator[None]:
    """Run Prometheus and Alertmanager on the deployed rules and routes."""
    routes = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    (folder / "alertmanager.yml").write_text(quickly(routes).replace("http://127.0.0.1:9095", hook))
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    (folder / "rules.yml").write_text(quickly(rules))
    with running(
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
        ready="/-/ready",
    ) as alertmanager:
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / "rules.yml")],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}
                ]
            },
            "scrape_configs": [
                {"job_name": "tidegauge-stream", "static_configs": [{"targets": [scraped]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        with running(
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            ready="/-/ready",
        ):
            yield


def windows_closed(address: str) -> float:
    """Return how many windows an exporter says were judged; 0 before it says anything."""
    with suppress(OSError):  # it is not up yet
        for line in read(f"http://{address}/metrics").splitlines():
            if line.startswith("tidegauge_windows_closed_total{"):
                return float(line.rpartition(" ")[2])
    return 0.0


def until(told: list[dict[str, Any]], true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for an alert that someone is told of."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        for alert in list(told):
            if true(alert):
                return alert
        time.sleep(0.1)
    raise AssertionError([(alert["labels"], alert["status"]) for alert in told])


def drift(status: str) -> Callable[[dict[str, Any]], bool]:
    """Say whether an alert tells that features began or ceased to drift."""
    return lambda alert: bool(
        alert["status"] == status
        and alert["labels"]["alertname"] == "TidegaugeDriftEvidence"
        and alert["labels"]["monitor"] == "feature_shift"
    )


@pytest.mark.parametrize("engine", [embedded, on_flink])
def test_from_rows_to_whoever_is_told(
    engine: Callable[[Watched], AbstractContextManager[Path]],
    small: Watched,
    tmp_path: Path,
) -> None:
    """A sensor is shuffled: the webhook says which and how, and links to why; mended: resolved."""
    table = current_rows()
    replayed = tmp_path / "rows.parquet"

    def send(first: int, last: int, more: int = 0) -> None:
        table.slice(first * HOURS, (last - first) * HOURS + more).write_parquet(replayed)
        assert tidegauge("replay", replayed, small.file).code == 0

    with kafka_broker() as broker, webhook() as (hook, told):
        for topic in ("sensors", "findings"):
            create_topic(broker.address, topic)
        stream_file(
            small.folder,
            source={"servers": broker.address, "topic": "sensors", "format": "arrow"},
            sinks={"kafka": {"servers": broker.address, "findings": "findings"}},
            forecasts=FORECASTS,
        )
        with (
            engine(small) as served,
            exporter(served) as scraped,
            alerting(scraped, hook, tmp_path),
        ):
            send(0, MOVED_WEEK)
            wait_until(lambda: windows_closed(scraped) == MOVED_WEEK - 1, what="quiet windows")
            quiet = time.time()
            send(MOVED_WEEK, MOVED_WEEK + 1)
            send(MOVED_WEEK + 1, MOVED_WEEK + 1, more=1)
            closed = time.time()
            alert = until(told, drift("firing"))
            sys.stdout.write(f"closing row to webhook: {alert['at'] - closed:.1f} s\n")
            page = read(alert["annotations"]["finding_url"]) if served.is_dir() else ""
            send(MOVED_WEEK + 1, MOVED_WEEK + 3)
            resolved = until(told, drift("resolved"))
    assert alert["labels"]["stream"] == "sensors"
    assert MOVED in alert["annotations"]["description"]
    summary = alert["annotations"]["summary"]
    assert summary.startswith(f"sensors: {MOVED} no longer follows the other features")
    if served.is_dir():
        link = f"http://{scraped}/findings/"
        assert alert["annotations"]["finding_url"].startswith(link)
        assert f'<h1 class="alarmed">{MOVED} no longer follows' in page
    else:  # a topic holds no rows to explain a finding with
        assert not alert["annotations"]["finding_url"]
    assert resolved["startsAt"] == alert["startsAt"]
    assert not [a for a in told if a["at"] < quiet and drift("firing")(a)]
