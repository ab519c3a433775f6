from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.serve import open_server, serve
from schemas.errors import OutputError
from tests.run_folders import write_run_folder
from tests.servers import free_port, read

ALARMS = 'tidegauge_alarms_total{monitor="feature_shift",stream="nyc-weather"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run folder with one alarm."""
    return write_run_folder(tmp_path / "run", weeks=3, shifted_week=1)


@contextmanager
def served(folder: Path, allow: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve a run folder on a free port of the loopback address; give the server's address."""
    with open_server(folder, "127.0.0.1:0", allow) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def value(text: str, series: str) -> float:
    """Return the value of one series of an exposition."""
    (line,) = (line for line in text.splitlines() if line.startswith(series + " "))
    return float(line.rsplit(" ", 1)[1])


def test_metrics_are_served_over_http(folder: Path) -> None:
    """GET /metrics answers with the run's metrics; the front page leads there."""
    with served(folder) as url:
        assert value(read(f"{url}/metrics"), ALARMS) == 1
        assert 'href="/metrics"' in read(f"{url}/")
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            read(f"{url}/etc/passwd")
        refused.value.close()


def test_replaced_run_is_read_again(folder: Path) -> None:
    """A new run in the folder's place is served from the next scrape on, without a restart."""
    with served(folder) as url:
        assert value(read(f"{url}/metrics"), ALARMS) == 1
        shutil.rmtree(folder)
        assert value(read(f"{url}/metrics"), ALARMS) == 1  # the last good run, meanwhile
        write_run_folder(folder, weeks=5, shifted_week=None)
        text = read(f"{url}/metrics")
    assert value(text, ALARMS) == 0
    assert value(text, 'tidegauge_windows_closed_total{stream="nyc-weather"}') == 5


def test_unchanged_run_is_not_read_again(folder: Path) -> None:
    """A scrape reads no table while run.json stays as it was."""
    with served(folder) as url:
        shutil.rmtree(folder / "findings")
        assert value(read(f"{url}/metrics"), ALARMS) == 1


def test_damaged_replacement_leaves_the_last_good_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What cannot be read is told once on stderr, and does not take the metrics away."""
    with served(folder) as url:
        manifest = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(manifest | {"version": 99}))
        for _ in range(3):
            assert value(read(f"{url}/metrics"), ALARMS) == 1
        (folder / "run.json").write_text(json.dumps(manifest | {"windows": 77}))
        text = read(f"{url}/metrics")
    assert value(text, 'tidegauge_windows_closed_total{stream="nyc-weather"}') == 77
    complaints = capfd.readouterr().err.splitlines()
    assert len(complaints) == 1
    assert complaints[0].endswith("upgrade tidegauge; still serving the last good run")


def test_front_page_escapes_the_folder_name(tmp_path: Path) -> None:
    """A folder's name cannot put a tag into the page."""
    with served(write_run_folder(tmp_path / "<b>run", weeks=1, shifted_week=0)) as url:
        assert "&lt;b&gt;run" in read(f"{url}/")


def test_folder_that_is_no_run_is_an_output_error(tmp_path: Path) -> None:
    """Nothing is served of a folder without a manifest."""
    with pytest.raises(OutputError, match="not a finished run"):
        serve(tmp_path, "127.0.0.1:0")


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
        cwd=Path(__file__).parents[2],
    ) as server:
        assert server.stderr is not None
        assert server.stderr.readline().startswith(b"serving http://127.0.0.1:")
        os.kill(server.pid, signal.SIGINT)
        assert server.stderr.read() == b""
        assert server.wait(timeout=10) == 0
