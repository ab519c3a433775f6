"""Clients of Kafka brokers; whatever goes wrong with them is said in one sentence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import OutputError, SourceError, did_you_mean
from schemas.kafka import Brokers

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Producer

PATIENCE = 10.0  # seconds for a broker to answer

#: `SourceError` where rows are read, `OutputError` where records are written.
Blame = type[SourceError] | type[OutputError]

#: Names of the errors that say that no broker answers, for now.
SILENCE = {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_MSG_TIMED_OUT", "_RESOLVE"}


class Troubles:
    """What a client tells in the background, such as that it may not log in."""

    def __init__(self, brokers: Brokers, blame: Blame, topic: str | None = None) -> None:
        self.brokers, self.blame, self.topic = brokers, blame, topic
        self.told: list[KafkaError] = []

    @property
    def is_final(self) -> bool:
        """Whether waiting will not help: a broker refused."""
        return any(told.name() not in SILENCE for told in self.told)

    def error(self, seen: object) -> SourceError | OutputError:
        """Return what to raise for an error of the client: its cause, where the client told it."""
        error = _kafka_error(seen)
        if error.name() in SILENCE:
            told = (told for told in self.told if told.name() not in SILENCE)
            error = next(told, error)
        return self.blame(_sentence(error, self.brokers, self.topic))


def consumer(brokers: Brokers, topic: str, **settings: Any) -> tuple[Consumer, Troubles]:
    """Return a consumer that commits nothing and joins no group, and what it tells.

    Raises
    ------
    SourceError
        When confluent-kafka is not installed, or a setting or file cannot be used.
    """
    troubles = Troubles(brokers, SourceError, topic)
    own = {"group.id": "tidegauge", "enable.auto.commit": False, **settings}
    client: Consumer = _client("Consumer", troubles, own)
    return client, troubles


def producer(brokers: Brokers, **settings: Any) -> tuple[Producer, Troubles]:
    """Return a producer whose retries neither double nor reorder, and what it tells.

    Raises
    ------
    OutputError
        When confluent-kafka is not installed, or a setting or file cannot be used.
    """
    troubles = Troubles(brokers, OutputError)
    own = {"enable.idempotence": True, "compression.type": "lz4", "linger.ms": 20, **settings}
    client: Producer = _client("Producer", troubles, own)
    return client, troubles


def partitions(client: Consumer | Producer, topic: str, troubles: Troubles) -> list[int]:
    """Return the partitions of a topic.

    Raises
    ------
    SourceError or OutputError
        When there is no such topic, or no broker answers.
    """
    troubles.topic = topic
    known = _topics(client, troubles)
    if topic not in known:
        message = (
            f"{troubles.brokers.servers}: there is no topic {topic!r}"
            f"{did_you_mean(topic, known)}; create it, or correct the stream file"
        )
        raise troubles.blame(message)
    if known[topic].error is not None:
        raise troubles.error(known[topic].error)
    return sorted(known[topic].partitions)


def _topics(client: Consumer | Producer, troubles: Troubles) -> dict[str, Any]:
    """Return all topics: to ask for one by name may create it."""
    from confluent_kafka import KafkaException

    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            topics: dict[str, Any] = client.list_topics(timeout=1.0).topics
            return topics
        except KafkaException as error:
            client.poll(0)  # hear what it has to tell
            said = troubles.error(error)
            if time.monotonic() > give_up or troubles.is_final:
                raise said from error
            time.sleep(0.05)


def connection(brokers: Brokers, blame: Blame = SourceError) -> dict[str, Any]:
    """Return the settings of librdkafka that reach the brokers.

    Raises
    ------
    SourceError or OutputError
        When the file with the password cannot be read.
    """
    settings: dict[str, Any] = {
        "bootstrap.servers": brokers.servers,
        "client.id": "tidegauge",
        "log_level": 0,  # what matters comes as an error, too
    }
    security = brokers.security
    if security is None:
        return settings
    given = {
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "ssl.ca.location": security.ca_file,
        "ssl.certificate.location": security.certificate_file,
        "ssl.key.location": security.key_file,
    }
    if security.password_file is not None:
        try:
            text = Path(security.password_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f"{security.password_file}: the password cannot be read: "
                f"{getattr(error, 'strerror', None) or error}; correct `password_file`"
            )
            raise blame(message) from error
        given["sasl.password"] = text.rstrip("\r\n")
    return settings | {name: value for name, value in given.items() if value is not None}


def _client(kind: str, troubles: Troubles, own: dict[str, Any]) -> Any:
    try:
        import confluent_kafka
    except ImportError as error:
        message = "Kafka needs confluent-kafka: pip install 'tidegauge[kafka]'"
        raise troubles.blame(message) from error
    settings = connection(troubles.brokers, troubles.blame)
    settings |= {"error_cb": troubles.told.append, **own}
    try:
        return getattr(confluent_kafka, kind)(settings)
    except confluent_kafka.KafkaException as error:
        message = f"{troubles.brokers.servers}: no client: {_kafka_error(error).str()}"
        raise troubles.blame(message) from error


def _kafka_error(seen: object) -> KafkaError:
    from confluent_kafka import KafkaError

    while not isinstance(seen, KafkaError):
        assert isinstance(seen, Exception)  # noqa: S101 (a KafkaException holds one)
        seen = seen.args[0]
    return seen


_WHAT = {
    "refused": "the brokers refuse the user {user!r}; "
    "check `username`, `mechanism` and the password in `password_file`",
    "tls": "no TLS connection: {says}; "
    "check `ca_file`, `certificate_file` and that the brokers speak TLS",
    "silence": "no broker answers; check `servers:` and `security:`, and that one is running",
    "unknown": "there is no topic {topic!r}; create it, or correct the stream file",
    "forbidden": "topic {topic!r}: not allowed: {says}; ask for the right to use it",
    "large": "topic {topic!r}: a message is too large for it; "
    "raise the topic's `max.message.bytes`, or send smaller ones",
    "deleted": "topic {topic!r}: messages were deleted before they were read: {says}; "
    "run again, and let the topic keep messages for longer",
    "other": "topic {topic!r}: {says} ({name})",
}
_KINDS = {
    **dict.fromkeys(SILENCE, "silence"),
    **dict.fromkeys(("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"), "refused"),
    **dict.fromkeys(("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"), "unknown"),
    **dict.fromkeys(("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"), "deleted"),
    "_SSL": "tls",
    "MSG_SIZE_TOO_LARGE": "large",
    "TOPIC_AUTHORIZATION_FAILED": "forbidden",
    "CLUSTER_AUTHORIZATION_FAILED": "forbidden",
}


def _sentence(error: KafkaError, brokers: Brokers, topic: str | None) -> str:
    user = None if brokers.security is None else brokers.security.username
    what = _WHAT[_KINDS.get(error.name(), "other")].format(
        user=user, topic=topic, says=error.str().replace("\n", " "), name=error.name()
    )
    return f"{brokers.servers}: {what}"


def kafka_exception() -> type[Exception]:
    """Return the exception of the client's calls."""
    from confluent_kafka import KafkaException

    return KafkaException
