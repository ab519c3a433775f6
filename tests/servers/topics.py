"""Makes topics and sends messages to them, as any producer would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def create_topic(
    servers: str, topic: str, client: Mapping[str, Any] | None = None, *, partitions: int = 1
) -> None:
    """Make a topic.

    Parameters
    ----------
    client : settings of librdkafka that the brokers ask for.
    """
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    # alive until its answer is there
    admin = AdminClient({"bootstrap.servers": servers} | dict(client or {}))
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1)
    admin.create_topics([new])[topic].result()


def send(servers: str, topic: str, messages: Sequence[bytes | None], partition: int = 0) -> None:
    """Send messages to one partition, in order, and wait until they are there."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    for message in messages:
        producer.produce(topic, value=message, partition=partition)
    assert producer.flush(30) == 0
