"""The HTTP server: /metrics for Prometheus, /findings/ID for who is told of one, and two probes."""

from __future__ import annotations

import html
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app
from prometheus_client.registry import Collector

from pipelines.serve.access import Guard, Users, load_users, tls_context
from pipelines.serve.links import FINDINGS
from schemas.errors import OutputError, TidegaugeError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_HTML = ("Content-Type", "text/html; charset=utf-8")
#: The page of a finding holds names and values of others' data: nothing in it may load or run.
_SEALED = (
    _HTML,
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)

_ID = re.compile(r"[0-9a-f]{20}")


class NoPageError(OutputError):
    """There is no page of a finding."""


class Source(Protocol):
    """Where metrics come from."""

    name: str  #: of the run or topic, for people

    def families(self) -> list[Metric]:
        """Return the metrics as they are now; none until it is ready, never a part of them."""

    def missing(self) -> str:
        """Say in a sentence what is missing; nothing when it is ready."""

    def page(self, finding: str) -> str:
        """Return the page of a finding as HTML; NoPageError says why there is none."""

    def check(self) -> None:
        """Raise what has ended the source for good."""

    def close(self) -> None:
        """Let go of what it holds."""


def listen_on(source: Source, listen: str, guard: Guard | None = None) -> WSGIServer:
    """Return a server of a source's metrics, listening but not yet answering.

    Raises
    ------
    OutputError
        When the address cannot be listened on, or a file of the guard cannot be used.
    """
    host, port = _address(listen)
    guard = guard or Guard()
    users = None if guard.users is None else load_users(guard.users)
    if guard.certificate is None and guard.key is not None:
        raise OutputError(f"{guard.key}: a key without a certificate; name its certificate, too")
    tls = None if guard.certificate is None else _Tls(guard.certificate, guard.key)
    server = _Server6 if ":" in host else _Server
    try:
        opened = make_server(host, port, _app(source, users), server, _QuietHandler)
    except OSError as error:  # also of a host name that is not known
        reason = error.strerror or str(error)
        message = f"{listen}: cannot be listened on: {reason}; give another address to --listen"
        raise OutputError(message) from error
    opened.source, opened.tls = source, tls
    return opened


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        message = (
            f"{listen!r} is not an address to listen on: write host:port, as in 127.0.0.1:9464"
        )
        raise OutputError(message)
    return host, int(port)


class _Families(Collector):
    def __init__(self, source: Source) -> None:
        self.source = source

    def collect(self) -> Iterable[Metric]:
        return self.source.families()


def _app(source: Source, users: Users | None) -> WSGIApplication:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(source))
    metrics = make_wsgi_app(registry)
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>tidegauge</title>"
        f"<h1>tidegauge</h1><p>Metrics of {html.escape(source.name)}: "
        '<a href="/metrics">/metrics</a></p></html>'
    )

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, headers = environ["PATH_INFO"], [_TEXT]
        allowed = users is None or users.allows(environ.get("HTTP_AUTHORIZATION"))
        # Probes carry no password: they learn yes or no. The reason is for those who have one.
        if path == "/-/healthy":
            status, text = "200 OK", "healthy"
        elif path == "/-/ready":
            missing = source.missing()
            status = "503 Service Unavailable" if missing else "200 OK"
            text = (missing if allowed else "not ready") if missing else "ready"
        elif not allowed:
            status, text = "401 Unauthorized", "give a name and a password"
            headers.append(("WWW-Authenticate", 'Basic realm="tidegauge", charset="UTF-8"'))
        elif environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, text = "405 Method Not Allowed", "nothing here can be written; use GET"
            headers.append(("Allow", "GET, HEAD"))
        elif path == "/metrics":
            return metrics(environ, start_response)  # type: ignore[no-any-return]
        elif path == "/":
            status, text, headers = "200 OK", page, [_HTML]
        elif path.startswith(FINDINGS):
            status, text, headers = _page(source, path.removeprefix(FINDINGS))
        else:
            status, text = "404 Not Found", "not found; the metrics are at /metrics"
        start_response(status, headers)
        return [f"{text}\n".encode()]

    return app


def _page(source: Source, finding: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Return status, text and headers of the page of a finding."""
    if _ID.fullmatch(finding) is None:
        text = "not found: the id of a finding is twenty digits 0-9 and a-f, as in /findings/0123…"
        return "404 Not Found", text, [_TEXT]
    try:
        return "200 OK", source.page(finding), list(_SEALED)  # it is added to
    except NoPageError as error:
        return "404 Not Found", str(error), [_TEXT]
    except TidegaugeError as error:
        return "500 Internal Server Error", str(error), [_TEXT]


class _Tls:
    """Wraps connections; takes up a renewed certificate by itself."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._certificate, self._key = certificate, key
        self._seen: list[tuple[int, int]] = []
        self._seen = self._stamp()
        self._context = tls_context(certificate, key)

    def wrap(self, connection: socket.socket) -> socket.socket:
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._context = tls_context(self._certificate, self._key)
            except OutputError as error:
                sys.stderr.write(f"{error}; still serving with the certificate before\n")
        # The handshake is the handler's, in its own thread: who says nothing keeps no one waiting.
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _stamp(self) -> list[tuple[int, int]]:
        try:
            files = [path.stat() for path in (self._certificate, self._key) if path is not None]
        except OSError:  # being replaced
            return self._seen
        return [(status.st_ino, status.st_mtime_ns) for status in files]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a scrape that hangs does not keep the command alive
    request_queue_size = 128  # with 5, those after it try again a second later: a scrape, too
    source: Source
    tls: _Tls | None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return connection if self.tls is None else self.tls.wrap(connection), address

    def service_actions(self) -> None:
        """Called twice a second: end when the source has."""
        self.source.check()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that goes away, or does not speak TLS."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = 30  # seconds: a client that says nothing gives its thread back

    def log_message(self, *_: object) -> None:
        """Log nothing: a scrape every few seconds is no news."""
