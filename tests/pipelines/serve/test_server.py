from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import Metric

from pipelines.serve import Guard, open_server, serve
from pipelines.serve.access import hash_password
from pipelines.serve.server import listen_on
from schemas.errors import OutputError
from tests.run_folders import write_run_folder
from tests.servers import free_port, read
from tests.servers.certificates import write_certificate

ALARMS = 'tidegauge_alarms_total{monitor="feature_shift",stream="nyc-weather"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run folder with one alarm."""
    return write_run_folder(tmp_path / "run", weeks=3, shifted_week=1)


@contextmanager
def served(folder: Path, *, wait: bool = False, guard: Guard | None = None) -> Iterator[str]:
    """Serve a run folder on a free port of the loopback address; give the server's address."""
    with open_server(folder, "127.0.0.1:0", wait=wait, guard=guard) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            scheme = "https" if guard and guard.certificate else "http"
            yield f"{scheme}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def value(text: str, series: str) -> float:
    """Return the value of one series of an exposition."""
    (line,) = (line for line in text.splitlines() if line.startswith(series + " "))
    return float(line.rsplit(" ", 1)[1])


def answer(
    url: str, user: str | None = None, authority: Path | None = None
) -> tuple[int, str, dict[str, str]]:
    """Return status, body and headers of what a server answers to ``name:password``."""
    request = urllib.request.Request(url)  # noqa: S310 (loopback)
    if user is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    context = None if authority is None else ssl.create_default_context(cafile=str(authority))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as said:  # noqa: S310
            return said.status, said.read().decode(), dict(said.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def test_metrics_are_served_over_http(folder: Path) -> None:
    """GET /metrics answers with the run's metrics; the front page leads there."""
    with served(folder) as url:
        assert value(read(f"{url}/metrics"), ALARMS) == 1
        assert 'href="/metrics"' in read(f"{url}/")
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            read(f"{url}/etc/passwd")
        refused.value.close()


def test_front_page_escapes_the_folder_name(tmp_path: Path) -> None:
    """A folder's name cannot put a tag into the page."""
    with served(write_run_folder(tmp_path / "<b>run", weeks=1, shifted_week=0)) as url:
        assert "&lt;b&gt;run" in read(f"{url}/")


def test_folder_that_is_no_run_is_an_output_error(tmp_path: Path) -> None:
    """Nothing is served of a folder without a manifest."""
    with pytest.raises(OutputError, match="not a finished run"):
        serve(tmp_path, "127.0.0.1:0")


def test_server_that_waits_is_healthy_and_not_ready(tmp_path: Path) -> None:
    """It says what is missing, exports nothing, and is ready once the first run is written."""
    folder = tmp_path / "run"
    with served(folder, wait=True) as url:
        assert answer(f"{url}/-/healthy")[:2] == (200, "healthy\n")
        status, says, _ = answer(f"{url}/-/ready")
        assert status == 503
        assert says.startswith(f"{folder}: not a finished run: there is no such folder; name the")
        assert answer(f"{url}/metrics")[:2] == (200, "")
        write_run_folder(folder, weeks=3, shifted_week=1)
        assert answer(f"{url}/-/ready")[:2] == (200, "ready\n")
        assert value(read(f"{url}/metrics"), ALARMS) == 1


def test_metrics_ask_for_a_password(folder: Path, tmp_path: Path) -> None:
    """Probes do not; but what is missing is told to those who have one only."""
    users = tmp_path / "users"
    users.write_text(f"ann:{hash_password('pw')}\n")
    guard = Guard(users=users)
    with served(folder, guard=guard) as url:
        for path in ("/metrics", "/", "/other"):
            status, says, headers = answer(f"{url}{path}")
            assert (status, says) == (401, "give a name and a password\n")
            assert headers["WWW-Authenticate"].startswith('Basic realm="tidegauge"')
        assert answer(f"{url}/metrics", "ann:other")[0] == 401
        assert value(answer(f"{url}/metrics", "ann:pw")[1], ALARMS) == 1
        assert answer(f"{url}/-/healthy")[0] == answer(f"{url}/-/ready")[0] == 200
    with served(tmp_path / "none", wait=True, guard=guard) as url:
        assert answer(f"{url}/-/ready")[:2] == (503, "not ready\n")
        assert "there is no such folder" in answer(f"{url}/-/ready", "ann:pw")[1]


def test_metrics_are_served_over_tls(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that says nothing, or speaks plainly, disturbs no other, and leaves no traceback."""
    certificate, key = write_certificate(tmp_path)
    with served(folder, guard=Guard(certificate, key)) as url:
        host, port = url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port))):  # never begins the handshake
            assert value(answer(f"{url}/metrics", authority=certificate)[1], ALARMS) == 1
        with pytest.raises(OSError, match=r"reset|closed|aborted"):
            urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            read(f"{url}/metrics")
        assert value(answer(f"{url}/metrics", authority=certificate)[1], ALARMS) == 1
    assert capfd.readouterr().err == ""


def test_renewed_certificate_is_taken_up(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a restart; while the renewed files do not go together, the old one stays."""
    certificate, key = write_certificate(tmp_path)
    first = tmp_path / "first.crt"
    first.write_bytes(certificate.read_bytes())
    with served(folder, guard=Guard(certificate, key)) as url:
        assert answer(f"{url}/-/ready", authority=first)[0] == 200
        new_certificate, new_key = write_certificate(tmp_path, "new")
        second = tmp_path / "second.crt"
        second.write_bytes(new_certificate.read_bytes())
        new_certificate.replace(certificate)
        assert answer(f"{url}/-/ready", authority=first)[0] == 200
        new_key.replace(key)
        assert answer(f"{url}/-/ready", authority=second)[0] == 200
    (said,) = capfd.readouterr().err.splitlines()
    assert said.endswith("still serving with the certificate before")


def test_key_without_certificate_is_an_output_error(folder: Path, tmp_path: Path) -> None:
    """It would be served in the clear; a certificate that is not there is one, too."""
    with pytest.raises(OutputError, match="a key without a certificate"):
        open_server(folder, "127.0.0.1:0", guard=Guard(key=tmp_path / "key"))
    with pytest.raises(OutputError, match=r"no\.crt: cannot be read: No such file"):
        open_server(folder, "127.0.0.1:0", guard=Guard(tmp_path / "no.crt"))


class Ended:
    """A source that has come to its end."""

    name = "nothing"

    def families(self) -> list[Metric]:
        """Return nothing."""
        return []

    def missing(self) -> str:
        """Return nothing."""
        return ""

    def page(self, finding: str) -> str:
        """Return nothing."""
        return finding[:0]

    def check(self) -> None:
        """Raise the end."""
        message = "it has ended"
        raise OutputError(message)

    def close(self) -> None:
        """Do nothing."""


def test_end_of_the_source_ends_the_server() -> None:
    """What a thread has failed of does not leave a server behind that serves old numbers."""
    with (
        listen_on(Ended(), "127.0.0.1:0") as server,
        pytest.raises(OutputError, match="it has ended"),
    ):
        server.serve_forever(poll_interval=0.01)


def test_address_in_use_is_an_output_error(folder: Path) -> None:
    """The second server on one port says so."""
    with served(folder) as url, pytest.raises(OutputError, match="Address already in use; give"):
        serve(folder, url.removeprefix("http://"))


@pytest.mark.parametrize("listen", ["", "9464", ":9464", "127.0.0.1:", "127.0.0.1:x", "h:70000"])
def test_address_that_is_none_is_an_output_error(folder: Path, listen: str) -> None:
    """An address is a host and a port; without a host it would be every interface."""
    with pytest.raises(OutputError, match="is not an address to listen on: write host:port"):
        open_server(folder, listen)


def test_interrupt_ends_the_server_quietly(folder: Path) -> None:
    """Ctrl-C leaves no traceback and exit code 0."""
    script = """if True:
        import pathlib, signal, sys
        from pipelines.serve import serve
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
        serve(pathlib.Path(sys.argv[1]), sys.argv[2])
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder), f"127.0.0.1:{free_port()}"],
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as server:
        assert server.stderr is not None
        assert server.stderr.readline().startswith(b"serving http://127.0.0.1:")
        os.kill(server.pid, signal.SIGINT)
        assert server.stderr.read() == b""
        assert server.wait(timeout=10) == 0
