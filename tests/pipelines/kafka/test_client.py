"""What can be said without a broker: settings, passwords, and a library that is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipelines.kafka.client import Troubles, connection, consumer, producer
from schemas.errors import OutputError, SourceError
from schemas.kafka import Brokers, Security

OPEN = Brokers(servers="a:1")


def secured(password_file: Path, **more: str) -> Brokers:
    """Return brokers that ask for a password."""
    security = Security.model_validate(
        {
            "protocol": "SASL_SSL",
            "mechanism": "SCRAM-SHA-512",
            "username": "ann",
            "password_file": str(password_file),
            **more,
        }
    )
    return Brokers(servers="a:1", security=security)


def test_security_becomes_settings(tmp_path: Path) -> None:
    """The password comes from its file, without the line's end; what is left out is not set."""
    (tmp_path / "p").write_text(" secret \r\n")
    settings = connection(secured(tmp_path / "p", ca_file="ca.pem"))
    assert settings["sasl.password"] == " secret "
    assert settings["ssl.ca.location"] == "ca.pem"
    assert "ssl.key.location" not in settings
    assert "sasl.password" not in connection(OPEN)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_password_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    """The error names the file."""
    if content is not None:
        (tmp_path / "p").write_bytes(content)
    with pytest.raises(OutputError, match="p: the password cannot be read"):
        connection(secured(tmp_path / "p"), OutputError)


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, as the reader's or the writer's fault."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SourceError, match=r"pip install 'tidegauge\[kafka\]'"):
        consumer(OPEN, "t")
    with pytest.raises(OutputError, match=r"pip install 'tidegauge\[kafka\]'"):
        producer(OPEN)


def test_a_certificate_that_is_missing_is_told(tmp_path: Path) -> None:
    """A client that cannot be made is one sentence, without the password."""
    (tmp_path / "p").write_text("secret")
    with pytest.raises(SourceError, match=r"a:1: no client: .*ssl\.ca\.location") as told:
        consumer(secured(tmp_path / "p", ca_file=str(tmp_path / "none.pem")), "t")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (KafkaError._TRANSPORT, "no broker answers"),
        (KafkaError._TIMED_OUT, "no broker answers"),
        (KafkaError._SSL, "no TLS connection"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "there is no topic 't'"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "topic 't': not allowed"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "a message is too large"),
        (KafkaError._AUTO_OFFSET_RESET, "were deleted before they were read"),
        (KafkaError._BAD_COMPRESSION, r"topic 't': .* \(_BAD_COMPRESSION\)"),
    ],
)
def test_each_error_is_one_sentence(code: int, says: str) -> None:
    """It says where, what, and what to do."""
    error = Troubles(OPEN, SourceError, "t").error(KafkaException(KafkaError(code)))
    assert isinstance(error, SourceError)
    with pytest.raises(SourceError, match=f"^a:1: .*{says}"):
        raise error
    assert "\n" not in str(error)


def test_the_cause_is_told_rather_than_the_silence() -> None:
    """Where the client told why no broker answers, that is the error; an answer stays."""
    troubles = Troubles(OPEN, SourceError, "t")
    troubles.told += [KafkaError(KafkaError._ALL_BROKERS_DOWN), KafkaError(KafkaError._SSL)]
    assert "no TLS connection" in str(troubles.error(KafkaError(KafkaError._TIMED_OUT)))
    answer = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert "there is no topic" in str(troubles.error(answer))
