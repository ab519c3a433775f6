"""A real Prometheus scrapes the exporter, which is killed again and again."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest

from pipelines.kafka.sink import to_messages
from pipelines.serve.access import hash_password
from pipelines.sinks import write_part
from tests.run_folders import weather_stream, write_run_folder
from tests.servers import Process, free_port, listens, read, running, wait_until
from tests.servers.certificates import write_certificate
from tests.servers.kafka import kafka_broker

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
SERVE = """if True:
    import json, pathlib, sys
    from pipelines.serve import Guard, serve, serve_topic
    from schemas.stream import Stream
    what, listen, *files = sys.argv[1:]
    guard = Guard(*map(pathlib.Path, files))
    if what.startswith("{"):
        serve_topic(Stream.model_validate_json(what), listen, wait=True, guard=guard)
    else:
        serve(pathlib.Path(what), listen, wait=True, guard=guard)
"""
COUNTERS = '{__name__=~"tidegauge_.*(_total|_count|_sum|_bucket)"}'
USER, PASSWORD = "prometheus", "s3cret:pw"


@dataclass(frozen=True)
class Scraped:
    """An exporter behind TLS and a password, and the Prometheus that scrapes it."""

    exporter: Process
    address: str
    certificate: Path
    prometheus: str

    def ask(self, query: str) -> list[Any]:
        """Return the result of a query."""
        answer = json.loads(read(f"{self.prometheus}/api/v1/query?{urlencode({'query': query})}"))
        return list(answer["data"]["result"])

    def value(self, query: str) -> float:
        """Return the only value of a query; -1 where there is none."""
        result = self.ask(query)
        return float(result[0]["value"][1]) if result else -1.0

    def fallen(self) -> set[str]:
        """Return the names of the counters that ever had a sample below the one before."""
        return {
            series["metric"]["__name__"]
            for series in self.ask(f"{COUNTERS}[10m]")
            if any(float(b[1]) < float(a[1]) for a, b in pairwise(series["values"]))
        }

    def exposition(self) -> bytes:
        """Return what the exporter says."""
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"https://{self.address}/metrics", headers={"Authorization": f"Basic {login}"}
        )
        context = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(request, timeout=10, context=context) as said:  # noqa: S310
            return bytes(said.read())


@contextmanager
def scraped(folder: Path, what: str) -> Iterator[Scraped]:
    """Export a run folder, or the topic of a stream, and scrape it four times a second."""
    certificate, key = write_certificate(folder)
    users, password = folder / "users", folder / "password"
    users.write_text(f"{USER}:{hash_password(PASSWORD)}\n")
    password.write_text(PASSWORD)
    port = free_port()
    address = f"127.0.0.1:{port}"
    exporter = Process(
        [sys.executable, "-c", SERVE, what, address, certificate, key, users],
        ready=lambda: listens(port),
        log=folder / "exporter.log",
        environment={"PYTHONPATH": str(ROOT)},
    )
    job = {
        "job_name": "tidegauge",
        "scrape_interval": "250ms",
        "scrape_timeout": "250ms",
        "scheme": "https",
        "tls_config": {"ca_file": str(certificate)},
        "basic_auth": {"username": USER, "password_file": str(password)},
        "static_configs": [{"targets": [address]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    try:
        exporter.start()
        with running("prometheus", *options, ready="/-/ready") as prometheus:
            yield Scraped(exporter, address, certificate, prometheus)
    finally:
        exporter.kill()


def kill_while_growing(scraped: Scraped, grow: Callable[[int], None], kills: int) -> None:
    """Let the source grow without a pause, and kill the exporter in the midst of scrapes."""
    tick = 0
    for _ in range(kills):
        for _ in range(15):
            tick += 1
            grow(tick)
            time.sleep(0.1)
        scraped.exporter.kill()
        scraped.exporter.start()
        wait_until(lambda: scraped.value("up") == 1, patience=30, what="scraped again")
    grow(tick + 1)


def test_run_folder_scraped_through_kills(tmp_path: Path) -> None:
    """No counter goes down or doubles; wrong credentials get nothing; promtool has no complaint."""
    run = write_run_folder(tmp_path / "run", weeks=3, shifted_week=1)
    rejects = pq.read_table(run / "rejects" / "part-00000.parquet")

    def grow(tick: int) -> None:
        manifest = json.loads((run / "run.json").read_text())
        part = write_part(
            rejects.slice(tick % 4, 3).replace_schema_metadata({"tick": str(tick)}), run / "rejects"
        )
        manifest["files"]["rejects"].append(f"rejects/{part.name}")
        manifest["rows"]["rejected"] += 3
        manifest["ticks"] += 1
        (run / "new.json").write_text(json.dumps(manifest))
        (run / "new.json").replace(run / "run.json")

    with scraped(tmp_path, str(run)) as world:
        kill_while_growing(world, grow, kills=3)
        wait_until(lambda: world.value("tidegauge_ticks_total") == 47, patience=30)
        assert world.fallen() == set()
        assert world.value("sum(tidegauge_dead_letters_total)") == 11 + 3 * 46
        assert world.value("max(max_over_time(tidegauge_ticks_total[10m]))") == 47
        check = subprocess.run(
            ["promtool", "check", "metrics"],
            input=world.exposition(),
            capture_output=True,
            check=False,
        )
        assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")
        (tmp_path / "password").write_text("wrong")
        wait_until(lambda: world.value("up") == 0, patience=30, what="refused")


def test_topic_scraped_through_kills(tmp_path: Path) -> None:
    """Each time the exporter reads the topic anew, and shows nothing before it has read it all."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    run = write_run_folder(tmp_path / "run", weeks=30, shifted_week=17)
    table = pq.read_table(run / "findings")
    findings, messages = table.to_pylist(), to_messages("findings", table)
    with kafka_broker() as broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.create_topics([NewTopic("findings", 4, 1)])["findings"].result(timeout=30)
        producer = Producer({"bootstrap.servers": broker.address})
        sinks = {"kafka": {"servers": broker.address, "findings": "findings"}}
        stream = weather_stream().model_dump(mode="json") | {"sinks": sinks}

        def grow(tick: int) -> None:
            for key, value in messages[max(0, (tick - 2) * 13) : tick * 13]:  # half of them again
                producer.produce("findings", value, key)
            producer.flush(30)

        with scraped(tmp_path, json.dumps(stream)) as world:
            kill_while_growing(world, grow, kills=3)
            written = findings[: 46 * 13]
            tested = [r for r in written if r["monitor"] == "feature_shift" and r["rank"]]
            count = "tidegauge_feature_drift_score_count"
            wait_until(lambda: world.value(count) == len(tested), patience=30)
            assert world.fallen() == set()
            assert world.value(f"max(max_over_time({count}[10m]))") == len(tested)
            windows = {row["window_end"] for row in written}
            assert world.value("tidegauge_windows_closed_total") == len(windows)
