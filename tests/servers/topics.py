"""Makes topics and sends messages to them, as any producer would."""

from __future__ import annotations

from collections.abc import Sequence


def create_topic(servers: str, topic: str, *, partitions: int = 1, **settings: str) -> None:
    """Make a topic."""
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    admin = AdminClient({"bootstrap.servers": servers})  # alive until its answer is there
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=settings)
    admin.create_topics([new])[topic].result()


def send(servers: str, topic: str, messages: Sequence[bytes | None], partition: int = 0) -> None:
    """Send messages to one partition, in order, and wait until they are there."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    for message in messages:
        producer.produce(topic, value=message, partition=partition)
    assert producer.flush(30) == 0
