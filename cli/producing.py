"""Sends a handful of messages from the command line and waits for the broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.codec import encode
from schemas.errors import ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import Topic

TIMEOUT_S = 10.0


def produce(plant: Plant, settings: KafkaSettings, messages: Sequence[tuple[Topic, str, Any]]) -> None:
    """Sends (topic, key, message) in order; returns when the broker has all of them. Raises `ServiceAway`."""
    records = []
    for topic, key, message in messages:
        encoded = encode(topic, message)
        records.append((topic.on(plant.plant), key.encode(), encoded.value, encoded.headers))
    produce_raw(settings, records)


def produce_raw(
    settings: KafkaSettings, records: Sequence[tuple[str, bytes | None, bytes | None, Sequence[tuple[str, bytes]]]]
) -> None:
    """Sends (topic on the broker, key, value, headers) in order. Raises `ServiceAway`."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    try:
        producer = KafkaProducer(
            acks="all", max_request_size=6 * 1024 * 1024, bootstrap_timeout_ms=10_000, **settings.client()
        )
        try:
            sent = [
                producer.send(topic, key=key, value=value, headers=list(headers))
                for topic, key, value, headers in records
            ]
            for future in sent:
                future.get(timeout=TIMEOUT_S)
        finally:
            producer.close(timeout=TIMEOUT_S)
    except KafkaError as error:
        raise ServiceAway(f"Kafka at {settings.bootstrap_servers} did not take the messages: {error}") from error
