"""Apache Flink on the loopback address: ZooKeeper, a job manager and one task manager.

Each is a process of its own. ZooKeeper, which flink-dist brings along, remembers the jobs and
their checkpoints: a job manager that was killed and started again takes them up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import Process, answers, free_port, jars, listens, read

ROOT = Path(__file__).parents[2]
#: What the Python workers of our jobs need: our modules, and one thread for many small matrices.
WORKERS = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}

_PACKAGES = (
    "java.lang java.lang.reflect java.net java.io java.nio java.time java.text java.util "
    "java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.net.util"
)
_OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _PACKAGES.split()]
_LOG4J = """\
rootLogger.level = {level}
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{ISO8601}} %p %c{{1}} %m%n
"""
_ZOOKEEPER = """\
dataDir={folder}/zookeeper
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
server.1=127.0.0.1:{peer}:{election}
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A session cluster.

    Attributes
    ----------
    rest : address of the job manager's REST interface, as in "127.0.0.1:8081".
    metrics : addresses of the Prometheus reporters of the job manager and the task manager.
    folder : everything that the cluster writes; checkpoints are in `folder/checkpoints`.
    """

    rest: str
    metrics: tuple[str, str]
    folder: Path
    job_manager: Process
    task_manager: Process

    def get(self, path: str) -> dict[str, object]:
        """Return what the REST interface answers to a path, such as "/jobs/overview"."""
        answer: dict[str, object] = json.loads(read(f"http://{self.rest}{path}"))
        return answer


@contextmanager
def flink_cluster(
    slots: int = 2,
    *,
    settings: Mapping[str, object] | None = None,
    log_level: str = "INFO",
) -> Iterator[Cluster]:
    """Run a cluster in a fresh folder.

    Parameters
    ----------
    slots : of the one task manager.
    settings : further settings of Flink; checkpoints are taken every 2 s unless they say otherwise.
    """
    rest, zookeeper, reporters = free_port(), free_port(), (free_port(), free_port())
    with TemporaryDirectory(prefix="flink-") as name:
        folder = Path(name)
        (folder / "zookeeper").mkdir()
        (folder / "zoo.cfg").write_text(
            _ZOOKEEPER.format(folder=folder, port=zookeeper, peer=free_port(), election=free_port())
        )
        (folder / "log4j.properties").write_text(_LOG4J.format(level=log_level))
        shared = {**_settings(folder, rest, zookeeper, slots), **(settings or {})}

        ensemble = Process(
            [
                *_java("64m", folder),
                "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer",
                "--zkConfigFile",
                folder / "zoo.cfg",
                "--peerId",
                "1",
            ],
            ready=lambda: listens(zookeeper),
            log=folder / "zookeeper.log",
        )
        job_manager = _process(
            folder, "job-manager", "384m",
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            {**shared, "metrics.reporter.prometheus.port": reporters[0]},
            ready=lambda: answers(f"http://127.0.0.1:{rest}/overview"),
        )  # fmt: skip
        task_manager = _process(
            folder, "task-manager", "384m",
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            {**shared, "metrics.reporter.prometheus.port": reporters[1]},
            ready=lambda: _registered(rest),
        )  # fmt: skip
        try:
            for process in (ensemble, job_manager, task_manager):
                process.start()
            addresses = (f"127.0.0.1:{reporters[0]}", f"127.0.0.1:{reporters[1]}")
            yield Cluster(f"127.0.0.1:{rest}", addresses, folder, job_manager, task_manager)
        finally:
            for process in (task_manager, job_manager, ensemble):
                process.close()  # their data goes with the folder


def _settings(folder: Path, rest: int, zookeeper: int, slots: int) -> dict[str, object]:
    return {
        "rest.bind-address": "127.0.0.1",
        "rest.address": "127.0.0.1",
        "rest.port": rest,
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "io.tmp.dirs": str(folder / "tmp"),
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"127.0.0.1:{zookeeper}",
        "high-availability.zookeeper.client.session-timeout": "5 s",
        "high-availability.storageDir": f"file://{folder}/ha",
        "heartbeat.interval": "1 s",
        "heartbeat.timeout": "6 s",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 1000,
        "restart-strategy.fixed-delay.delay": "1 s",
        "execution.checkpointing.interval": "2 s",
        "execution.checkpointing.dir": f"file://{folder}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"file://{folder}/savepoints",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "metrics.reporters": "prometheus",
        "metrics.reporter.prometheus.factory.class": (
            "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
        ),
        "taskmanager.numberOfTaskSlots": slots,
        # All sizes: else the start scripts, which are not in the wheel, would have to derive them.
        "taskmanager.cpu.cores": float(slots),
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.task.heap.size": "256m",
        "taskmanager.memory.framework.off-heap.size": "64m",
        "taskmanager.memory.task.off-heap.size": "64m",
        "taskmanager.memory.network.min": "64m",
        "taskmanager.memory.network.max": "64m",
        "taskmanager.memory.managed.size": "256m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "128m",
        "taskmanager.memory.jvm-overhead.max": "128m",
    }


def _process(
    folder: Path,
    name: str,
    heap: str,
    main: str,
    settings: Mapping[str, object],
    *,
    ready: Callable[[], bool],
) -> Process:
    home = folder / name
    home.mkdir()
    (home / "config.yaml").write_text(
        "".join(f"{key}: {value}\n" for key, value in settings.items())
    )
    return Process(
        [*_java(heap, folder), main, "--configDir", home],
        ready=ready,
        log=folder / f"{name}.log",
        environment={
            **WORKERS,
            "FLINK_CONF_DIR": str(home),
            "FLINK_LIB_DIR": str(jars("flink") / "lib"),
            "FLINK_PLUGINS_DIR": str(jars("flink") / "plugins"),
        },
    )


def _java(heap: str, folder: Path) -> list[str]:
    return [
        "java",
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",
        *_OPENS,
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j.configurationFile={folder}/log4j.properties",
        "-cp",
        f"{jars('flink')}/lib/*",
    ]


def _registered(rest: int) -> bool:
    """Say whether the job manager knows a living task manager, not a killed one, and its slots."""
    try:
        known = json.loads(read(f"http://127.0.0.1:{rest}/taskmanagers"))["taskmanagers"]
    except OSError:
        return False
    return any(one["slotsNumber"] and listens(int(one["dataPort"])) for one in known)
