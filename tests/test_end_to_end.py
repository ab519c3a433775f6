"""Rows to a page: broker, stream, exporter, Prometheus, Alertmanager, and whoever is told."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.conftest import FORECASTS
from tests.servers import free_port, running
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
from tests.watching import following, wait_for, windows_are

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
def exporter(watched: Watched) -> Iterator[str]:
    """Serve the run of a stream before there is one, and give the address."""
    address = f"127.0.0.1:{free_port()}"
    process = start("serve", watched.run, "--listen", address, "--wait")
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


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


def test_from_rows_to_whoever_is_told(
    small: Watched, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A sensor is shuffled: the webhook names stream and sensor; it is mended: resolved."""
    table = current_rows()
    replayed = tmp_path / "rows.parquet"

    def send(first: int, last: int, more: int = 0) -> None:
        table.slice(first * HOURS, (last - first) * HOURS + more).write_parquet(replayed)
        assert tidegauge("replay", replayed, small.file).code == 0

    with kafka_broker() as broker, webhook() as (hook, told), exporter(small) as scraped:
        create_topic(broker.address, "sensors")
        source = {"servers": broker.address, "topic": "sensors", "format": "arrow"}
        stream_file(small.folder, source=source, forecasts=FORECASTS)
        with alerting(scraped, hook, tmp_path):
            process = following(small)
            try:
                send(0, MOVED_WEEK)
                wait_for(small, windows_are(MOVED_WEEK - 1), process)
                send(MOVED_WEEK, MOVED_WEEK + 1)
                closed = time.time()
                send(MOVED_WEEK + 1, MOVED_WEEK + 1, more=1)
                alert = until(told, drift("firing"))
                record_property("seconds from the last row to the webhook", alert["at"] - closed)
                send(MOVED_WEEK + 1, MOVED_WEEK + 3)
                resolved = until(told, drift("resolved"))
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
    assert alert["labels"]["stream"] == "sensors"
    assert MOVED in alert["annotations"]["description"]
    assert resolved["startsAt"] == alert["startsAt"]
    assert not [a for a in told if a["at"] < closed and drift("firing")(a)]
