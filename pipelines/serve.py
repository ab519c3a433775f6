"""Serves a run's metrics over HTTP, for Prometheus to scrape."""

from __future__ import annotations

import html
import socket
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Lock
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.registry import Collector

from monitors.export import collect
from pipelines.run_folder import MANIFEST, open_run
from schemas.errors import OutputError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def serve(run_folder: Path, listen: str, allow: Collection[str] = ()) -> None:
    """Serve the metrics of a run folder until interrupted.

    Parameters
    ----------
    listen : ``host:port``.
    allow : features that have a series of their own whatever their score.

    Raises
    ------
    OutputError
        When the folder is no run, or the address cannot be listened on.
    """
    with open_server(run_folder, listen, allow) as server:
        host, port = server.server_address[:2]
        host = f"[{host!s}]" if ":" in str(host) else host
        try:
            sys.stderr.write(f"serving http://{host!s}:{port}/metrics\n")
            server.serve_forever()
        except KeyboardInterrupt:
            return


def open_server(run_folder: Path, listen: str, allow: Collection[str] = ()) -> WSGIServer:
    """Return the server of `serve`, listening but not yet answering."""
    host, port = _address(listen)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(RunCollector(run_folder, allow))
    server = _Server6 if ":" in host else _Server
    try:
        return make_server(host, port, _app(registry, run_folder), server, _QuietHandler)
    except OSError as error:  # also of a host name that is not known
        reason = error.strerror or str(error)
        message = f"{listen}: cannot be listened on: {reason}; give another address to --listen"
        raise OutputError(message) from error


class RunCollector(Collector):
    """The metrics of a run folder, read again when its manifest has changed.

    While a folder is being replaced, or when what replaced it cannot be read, the last good
    metrics stay; the age of the last success then grows, which is alerted on.
    """

    def __init__(self, folder: Path, allow: Collection[str] = ()) -> None:
        self._folder, self._allow, self._lock = folder, allow, Lock()
        self._seen, self._complaint = self._stamp(), ""
        self._families = collect(open_run(folder).snapshot(), allow)

    def collect(self) -> Iterable[Metric]:
        """Return the metric families of the run."""
        with self._lock:
            stamp = self._stamp()
            if stamp not in (None, self._seen):
                try:
                    self._families = collect(open_run(self._folder).snapshot(), self._allow)
                    self._seen, self._complaint = stamp, ""
                except OutputError as error:
                    self._complain(str(error))
            return self._families

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = (self._folder / MANIFEST).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            sys.stderr.write(f"{text}; still serving the last good run\n")
            self._complaint = text


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        message = (
            f"{listen!r} is not an address to listen on: write host:port, as in 127.0.0.1:9464"
        )
        raise OutputError(message)
    return host, int(port)


def _app(registry: CollectorRegistry, folder: Path) -> WSGIApplication:
    metrics = make_wsgi_app(registry)
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>tidegauge</title>"
        f"<h1>tidegauge</h1><p>Metrics of the run {html.escape(str(folder))}: "
        '<a href="/metrics">/metrics</a></p></html>\n'
    ).encode()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return metrics(environ, start_response)  # type: ignore[no-any-return]
        if path == "/":
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
            return [page]
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"not found; the metrics are at /metrics\n"]

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a scrape that hangs does not keep the command alive


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = 30  # seconds: a client that says nothing gives its thread back

    def log_message(self, *_: object) -> None:
        """Log nothing: a scrape every few seconds is no news."""
