"""Metrics of a finished run go where the stream file says; whatever happens there, it is whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from pipelines.run_folder import open_run
from tests.servers import free_port
from tests.small_streams import CURRENT_WEEKS, Watched, tidegauge


def with_sinks(watched: Watched, **sinks: Any) -> None:
    """Name sinks in the stream file."""
    stream = json.loads(watched.file.read_text())
    watched.file.write_text(json.dumps({**stream, "sinks": sinks}))


@contextmanager
def gateway(status: int) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Stand in for a Pushgateway that answers with a status; give what it was sent."""
    sent: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            sent.append((self.command, self.path, body))
            self.send_response(status)
            self.end_headers()

        do_PUT = do_POST = _answer  # noqa: N815 (http.server finds them by these names)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_textfile_is_written(small: Watched) -> None:
    """`sinks.textfile` gets the metrics of the run, whole, for node_exporter."""
    path = small.folder / "metrics" / "sensors.prom"
    path.parent.mkdir()
    with_sinks(small, textfile=str(path))
    assert tidegauge("run", small.file).code == 0
    lines = path.read_text().splitlines()
    assert f'tidegauge_windows_closed_total{{stream="sensors"}} {CURRENT_WEEKS}.0' in lines
    assert 'tidegauge_alarms_total{monitor="feature_shift",stream="sensors"} 1.0' in lines
    assert [part.name for part in path.parent.iterdir()] == ["sensors.prom"]


def test_textfile_that_cannot_be_written_leaves_the_run_whole(small: Watched) -> None:
    """A folder that is not there: exit code 2, named; the run is there and says so."""
    path = small.folder / "none" / "sensors.prom"
    with_sinks(small, textfile=str(path))
    done = tidegauge("run", small.file)
    assert (done.code, done.out) == (2, "")
    assert str(path) in done.err
    assert f"the run itself is whole, in {small.run}" in done.err
    assert open_run(small.run).manifest["windows"] == CURRENT_WEEKS


def test_run_is_pushed(small: Watched) -> None:
    """A Pushgateway gets the whole group of the stream, in one PUT."""
    with gateway(200) as (url, sent):
        with_sinks(small, pushgateway=url)
        assert tidegauge("run", small.file).code == 0
    assert [(verb, path) for verb, path, _ in sent] == [
        ("PUT", "/metrics/job/tidegauge/stream/sensors")
    ]
    assert "tidegauge_windows_closed_total" in sent[0][2]


def test_gateway_that_does_not_take_it_leaves_the_run_whole(small: Watched) -> None:
    """A gateway that refuses, and one that is not there: exit code 2, and the run is whole."""
    with gateway(400) as (url, _):
        with_sinks(small, pushgateway=url)
        refused = tidegauge("run", small.file)
    assert (refused.code, refused.out) == (2, "")
    assert f"{url}: the Pushgateway refused the metrics: 400" in refused.err
    assert open_run(small.run).manifest["windows"] == CURRENT_WEEKS
    url = f"http://127.0.0.1:{free_port()}"
    with_sinks(small, pushgateway=url)
    absent = tidegauge("run", small.file)
    assert (absent.code, absent.out) == (2, "")
    assert f"{url}: no Pushgateway answers" in absent.err
    assert "the run itself is whole" in absent.err


def test_run_that_fails_is_told_to_the_gateway(small: Watched) -> None:
    """A run that ends without a result pushes its end alone; its own error is what is said."""
    Path(small.current).write_bytes(b"")
    with gateway(200) as (url, sent):
        with_sinks(small, pushgateway=url)
        done = tidegauge("run", small.file)
    assert done.code == 2
    assert "the file is empty" in done.err
    assert [verb for verb, _, _ in sent] == ["POST"]
    assert "tidegauge_batch_last_completion_timestamp_seconds" in sent[0][2]
    assert "tidegauge_batch_last_success_timestamp_seconds" not in sent[0][2]
