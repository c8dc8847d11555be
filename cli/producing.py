"""Sends messages from the command line and waits for the broker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self

from schemas.codec import encode
from schemas.errors import ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import MIB_BYTES, Topic, missing_topic

TIMEOUT_S = 10.0
ANSWER_MS = 10_000
MAX_REQUEST_BYTES = 6 * MIB_BYTES


class Sender:
    """One connection for a command's messages; use as a context manager.

    All methods raise `ServiceAway`; sending raises ConfigurationError for a topic that the broker does not have.
    """

    def __init__(self, *, plant: Plant, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._kafka = kafka

    def __enter__(self) -> Self:
        from kafka import KafkaProducer
        from kafka.errors import KafkaError

        try:
            self._producer = KafkaProducer(
                acks="all",
                max_request_size=MAX_REQUEST_BYTES,
                max_block_ms=ANSWER_MS,
                bootstrap_timeout_ms=ANSWER_MS,
                **self._kafka.client(),
            )
        except KafkaError as error:
            raise self._away(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from gateways.sender import end_producer

        end_producer(self._producer, timeout_s=TIMEOUT_S)

    def send(self, messages: Sequence[tuple[Topic, str, Any]]) -> None:
        """Sends (topic, key, message) in order; returns when the broker has all of them."""
        encoded = [(topic, key.encode(), encode(topic, message)) for topic, key, message in messages]
        self.send_raw([(topic, key, found.value, found.headers) for topic, key, found in encoded])

    def send_raw(
        self, records: Sequence[tuple[Topic, bytes | None, bytes | None, Sequence[tuple[str, bytes]]]]
    ) -> None:
        """Sends (topic, key, value, headers) as they are, in order; returns when the broker has all of them."""
        from kafka.errors import KafkaError, KafkaTimeoutError

        try:
            sent = [
                self._producer.send(topic.on(self._plant.plant), key=key, value=value, headers=list(headers))
                for topic, key, value, headers in records
            ]
            for future in sent:
                future.get(timeout=TIMEOUT_S)
        except KafkaTimeoutError as error:
            self._look_for_topics({topic.on(self._plant.plant) for topic, *_ in records})
            raise self._away(error) from error
        except KafkaError as error:
            raise self._away(error) from error

    def _look_for_topics(self, names: set[str]) -> None:
        """Raises ConfigurationError if the silence was that of a topic which is not there."""
        from kafka import KafkaConsumer
        from kafka.errors import KafkaError

        try:
            with closing(KafkaConsumer(bootstrap_timeout_ms=ANSWER_MS, **self._kafka.client())) as consumer:
                present = consumer.topics()
        except KafkaError as error:
            raise self._away(error) from error
        if missing := sorted(names - present):
            raise missing_topic(missing[0], present=present)

    def _away(self, error: Exception) -> ServiceAway:
        return ServiceAway(f"Kafka at {self._kafka.bootstrap_servers} did not take the messages: {error}")
