"""Starts and stops jobs of ours on a cluster of `tests.servers.flink`, as an operator would."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.servers import jars
from tests.servers.flink import ROOT, WORKERS, Cluster


def submit(
    cluster: Cluster,
    stream_file: Path,
    baseline: Path,
    *,
    parallelism: int = 2,
    savepoint: str | None = None,
) -> str:
    """Start the job of a stream, and return its id."""
    return _run(
        "submit", str(stream_file), "--baseline", str(baseline), "--jobmanager", cluster.rest,
        "--parallelism", str(parallelism), "--checkpoints", "2 s",
        *(("--savepoint", savepoint) if savepoint else ()),
    )  # fmt: skip


def stop(cluster: Cluster, job: str) -> str:
    """Stop a job with a savepoint, and return where that is."""
    return _run("stop", job, "--jobmanager", cluster.rest)


def _run(command: str, *arguments: str) -> str:
    python = jars("flink-python") / "bin" / "python"
    ran = subprocess.run(
        [python, "-m", f"pipelines.flink.{command}", *arguments],
        cwd=ROOT,
        env={**os.environ, **WORKERS, "JVM_ARGS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    return ran.stdout.strip()


def workers(cluster: Cluster) -> list[int]:
    """Return the processes of the task manager's Python workers."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            group = int((entry / "stat").read_text().rpartition(")")[2].split()[2])
            command = (entry / "cmdline").read_bytes()
            if group == cluster.task_manager.pid and b"pyflink" in command:
                found.append(int(entry.name))
    return [pid for pid in found if pid != cluster.task_manager.pid]


def kill_workers(cluster: Cluster) -> int:
    """Kill the Python workers as `kill -9` does, and return how many there were."""
    pids = workers(cluster)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)


def cpu_seconds(cluster: Cluster) -> float:
    """Return the CPU time so far of the task manager and its Python workers."""
    ticks = 0
    for pid in (cluster.task_manager.pid, *workers(cluster)):
        with suppress(OSError):
            numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(numbers[11]) + int(numbers[12])
    return ticks / os.sysconf("SC_CLK_TCK")
