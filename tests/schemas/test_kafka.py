"""What a stream file may say about topics."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.kafka import Security, Topic
from schemas.sinks import RecordTopics

SASL = {
    "protocol": "SASL_SSL",
    "mechanism": "PLAIN",
    "username": "ann",
    "password_file": "secret.txt",
}
TOPIC = {"servers": "a:1", "topic": "t", "format": "json"}


def test_complete_parts_are_taken() -> None:
    """TLS alone, a login, and a login with a certificate are ways in."""
    pair = {"certificate_file": "c.pem", "key_file": "k.pem"}
    for given in ({"protocol": "SSL"}, SASL, SASL | pair, {"protocol": "SSL", **pair}):
        Security.model_validate(given)
    Topic.model_validate(TOPIC | {"security": SASL})
    RecordTopics(servers="a:1", findings="f")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"protocol": "SASL_SSL", "username": "ann"}, "SASL_SSL needs `mechanism`"),
        (SASL | {"protocol": "SSL"}, "did you mean `protocol: SASL_SSL`"),
        (SASL | {"certificate_file": "c.pem"}, "`certificate_file` and `key_file` go together"),
        (SASL | {"password": "secret"}, "Extra inputs are not permitted"),
        ({"protocol": "PLAINTEXT"}, "Input should be 'SSL'"),
    ],
)
def test_incomplete_security_is_refused(given: dict[str, Any], says: str) -> None:
    """A login without a proof, TLS with one, and a password in the file itself are mistakes."""
    with pytest.raises(ValidationError, match=says):
        Security.model_validate(given)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"avro_schemas": ["a.avsc"]}, "`avro_schemas` go with `format: avro`, not with json"),
        ({"format": "csv"}, "Input should be 'json', 'arrow' or 'avro'"),
        ({"topic": ""}, "at least 1 character"),
        ({"start": "now"}, "'earliest' or 'latest'"),
        ({"envelope": {"offset": "o"}}, "Extra inputs are not permitted"),
    ],
)
def test_an_impossible_topic_is_refused(more: dict[str, Any], says: str) -> None:
    """Each mistake is named."""
    with pytest.raises(ValidationError, match=says):
        Topic.model_validate(TOPIC | more)
