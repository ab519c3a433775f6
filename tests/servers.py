"""Starts a real server on the loopback address for one test."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_PATIENCE = 20.0  # seconds for a server to say that it is ready


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read(url: str) -> str:
    """Return what a server answers."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (loopback)
        return str(answer.read().decode())


@contextmanager
def running(command: str, *options: str, ready: str) -> Iterator[str]:
    """Run one of Prometheus's servers, and give its address.

    Parameters
    ----------
    ready : the path that answers once the server is ready.
    """
    address = f"127.0.0.1:{free_port()}"
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
        server = subprocess.Popen(
            [command, f"--web.listen-address={address}", *options],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            give_up = time.monotonic() + _PATIENCE
            while not _answers(f"http://{address}{ready}"):
                if server.poll() is not None or time.monotonic() > give_up:
                    log.seek(0)
                    message = f"{command} is not ready: {log.read().decode()}"
                    raise RuntimeError(message)
                time.sleep(0.05)
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(timeout=10)


def _answers(url: str) -> bool:
    try:
        read(url)
    except OSError:  # nobody listens, or it says that it is not ready
        return False
    return True
