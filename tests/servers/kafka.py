"""Apache Kafka on the loopback address: one process that is broker and controller (KRaft)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers import Process, free_port, jars, listens

_JAVA = (
    "java",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # starts sooner
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_CLUSTER = "dGlkZWdhdWdlLXRlc3RzIQ"  # 16 bytes in base 64


class Broker:
    """A broker; `address` is what clients bootstrap from."""

    def __init__(self, process: Process, address: str) -> None:
        self.address = address
        self._process = process

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def start(self) -> None:
        """Start it on the same data and port, and wait until it serves."""
        self._process.start()

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self._process.kill()

    def stop(self) -> None:
        """Shut it down in order."""
        self._process.stop()


@contextmanager
def kafka_broker(
    *,
    users: Mapping[str, str] | None = None,
    certificate: tuple[Path, Path] | None = None,
    settings: Mapping[str, str] | None = None,
    start: bool = True,
) -> Iterator[Broker]:
    """Run a broker in a fresh folder.

    Parameters
    ----------
    users : name → password: clients must log in (SASL, mechanism PLAIN).
    certificate : of the broker and its key, PEM: clients must come over TLS.
    settings : further lines of the broker's configuration.
    start : False leaves it down, at a known address.
    """
    port, controller = free_port(), free_port()
    protocol = ("SASL_" if users else "") + ("SSL" if certificate else "PLAINTEXT")
    with TemporaryDirectory(prefix="kafka-") as folder:
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "listener.security.protocol.map": f"CLIENTS:{protocol},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENTS",
            "log.dirs": f"{folder}/data",
            "num.network.threads": "2",
            "num.io.threads": "2",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.retention.ms": "-1",  # else it soon deletes records with old times
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "2000",  # a killed broker may register again after this
            **(_login(users) if users else {}),
            **(_keys(*certificate, Path(folder)) if certificate else {}),
            **(settings or {}),
        }
        properties = Path(folder, "server.properties")
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        java = (*_JAVA, "-cp", f"{jars('kafka')}/*")
        subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)],
            check=True,
            capture_output=True,
        )
        process = Process(
            [*java, "kafka.Kafka", properties],
            ready=lambda: listens(port),
            log=Path(folder, "log"),
        )
        try:
            if start:
                process.start()
            yield Broker(process, f"127.0.0.1:{port}")
        finally:
            process.close()  # its data goes with the folder


def _keys(certificate: Path, key: Path, folder: Path) -> dict[str, str]:
    """Return the settings of TLS; the broker talks to itself over it, too."""
    both = folder / "server.pem"
    both.write_text(key.read_text() + certificate.read_text())
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificate),
        "ssl.client.auth": "none",
    }


def _login(users: Mapping[str, str]) -> dict[str, str]:
    (name, password), *_ = users.items()
    known = " ".join(f'user_{user}="{secret}"' for user, secret in users.items())
    return {
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.clients.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'username="{name}" password="{password}" {known};'
        ),
    }
