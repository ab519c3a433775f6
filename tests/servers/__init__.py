"""Starts real servers on the loopback address for one test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_PATIENCE = 20.0  # seconds for one of Prometheus's servers to say that it is ready
_JVM_PATIENCE = 120.0  # seconds for a Java server, on a machine that is busy with other tests


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Say whether someone accepts connections on a port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read(url: str) -> str:
    """Return what a server answers."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (loopback)
        return str(answer.read().decode())


def wait_until(
    true: Callable[[], bool], *, patience: float = _JVM_PATIENCE, what: str = "the condition"
) -> None:
    """Wait until a condition holds; `TimeoutError` after `patience` seconds."""
    give_up = time.monotonic() + patience
    while not true():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {patience:g} s")
        time.sleep(0.05)


def jars(service: str) -> Path:
    """Return the folder of what was installed: `kafka`, `flink`, `flink-kafka`, `flink-python`."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(os.environ.get("TIDEGAUGE_SERVICES") or Path(cache, "tidegauge"))
    if not (home / service).is_dir():
        raise FileNotFoundError(
            f"{service} is not installed: run scripts/install-integration-services"
        )
    return home / service


class Process:
    """A server which a test can kill, stop and start again, with the same command.

    Parameters
    ----------
    ready : says whether the server has come up.
    log : the file that takes what it prints, of all its lives.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], bool],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it is ready; `RuntimeError` with its log if it is not."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self._environment,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, which its children join
            )
        self._groups.append(self._process.pid)
        self.wait()

    def wait(self) -> None:
        """Wait until it is ready, say after another server was killed; raise as `start` does."""
        try:
            wait_until(lambda: self._exited() or self._ready())
        except TimeoutError:
            self.kill()
        if self._exited():
            printed = self.log.read_text(errors="replace")[-8000:]
            raise RuntimeError(f"{self.command[0]} is not ready: {printed}")

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end; kill it if it does not within 10 s."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """Kill it and what it started, in all its lives."""
        self.kill()
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _exited(self) -> bool:
        return self._process is not None and self._process.poll() is not None


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
            while not answers(f"http://{address}{ready}"):
                if server.poll() is not None or time.monotonic() > give_up:
                    log.seek(0)
                    message = f"{command} is not ready: {log.read().decode()}"
                    raise RuntimeError(message)
                time.sleep(0.05)
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(timeout=10)


def answers(url: str) -> bool:
    """Say whether a server answers well."""
    try:
        read(url)
    except OSError:  # nobody listens, or it says that it is not ready
        return False
    return True
