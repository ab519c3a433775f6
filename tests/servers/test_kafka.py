from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer

from tests.servers.kafka import kafka_broker

pytestmark = pytest.mark.integration


def test_broker_keeps_its_records_when_it_is_killed() -> None:
    """A record that was acknowledged before `kill -9`, however old, is read after the restart."""
    with kafka_broker() as broker:
        producer = Producer({"bootstrap.servers": broker.address, "log_level": 0})
        producer.produce("readings", b"1", timestamp=1_000)
        assert producer.flush(20) == 0
        broker.kill()
        broker.start()
        consumer = Consumer(
            {
                "bootstrap.servers": broker.address,
                "group.id": "test",
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe(["readings"])
        message = consumer.poll(30)
        consumer.close()
    assert message is not None
    assert message.value() == b"1"


@pytest.mark.parametrize(("password", "left"), [("secret", 0), ("wrong", 1)])
def test_broker_asks_for_a_login(password: str, left: int) -> None:
    """With users, only who knows the password can write."""
    with kafka_broker(users={"ann": "secret"}) as broker:
        producer = Producer(
            {
                "bootstrap.servers": broker.address,
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "ann",
                "sasl.password": password,
                "log_level": 0,
            }
        )
        producer.produce("readings", b"1")
        assert producer.flush(20 if left == 0 else 3) == left
        producer.purge()
