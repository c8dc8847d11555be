"""Follows topics of a running line: what was decoded, record by record, from where the topics stood at the start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.codec import decode
from schemas.errors import Refused, ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import Topic

FETCH_BYTES = 8 * 1024 * 1024
END_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One record: `message` is None where it cannot be decoded; `at_ms` is the record's timestamp."""

    topic: Topic
    message: Any
    headers: Sequence[tuple[str, bytes]]
    partition: int
    offset: int
    at_ms: int


class Follower:
    """A reader without a group. Starts at the present end of each topic; `drain` reads up to the end as it then is."""

    def __init__(self, *, plant: Plant, settings: KafkaSettings, topics: Sequence[Topic]) -> None:
        self._topics = {topic.on(plant.plant): topic for topic in topics}
        try:
            self._consumer = KafkaConsumer(
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=4 * FETCH_BYTES,
                **settings.client(),
            )
            self._partitions = [
                TopicPartition(name, number)
                for name in self._topics
                for number in sorted(self._consumer.partitions_for_topic(name) or ())
            ]
        except KafkaError as error:
            raise ServiceAway(f"no Kafka broker answers at {settings.bootstrap_servers}: {error}") from error
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_end(*self._partitions)
        for partition in self._partitions:
            self._consumer.position(partition)

    def poll(self, *, timeout_ms: int) -> Iterator[Seen]:
        """What arrived meanwhile, at most one fetch; waits up to `timeout_ms` for something."""
        for partition, records in self._consumer.poll(timeout_ms=timeout_ms).items():
            topic = self._topics[partition.topic]
            for record in records:
                try:
                    message = decode(topic, record.value, record.headers)
                except Refused:
                    message = None
                yield Seen(
                    topic=topic,
                    message=message,
                    headers=record.headers,
                    partition=record.partition,
                    offset=record.offset,
                    at_ms=record.timestamp,
                )

    def drain(self) -> Iterator[Seen]:
        """Everything up to the present end of all topics."""
        ends = self._consumer.end_offsets(self._partitions)
        while any(self._consumer.position(partition) < ends[partition] for partition in self._partitions):
            seen = list(self.poll(timeout_ms=END_TIMEOUT_MS))
            if not seen:
                raise ServiceAway("the broker stopped answering while the last records were read")
            yield from seen

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
