"""Follows topics of a running line: what was decoded, record by record, from where the topics stood at the start."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.broker_away import broker_away
from schemas.codec import decode
from schemas.errors import ConfigurationError, Refused, ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import Topic, missing_topic

FETCH_BYTES = 8 * 1024 * 1024
FETCH_MAX_WAIT_MS = 500
END_TIMEOUT_MS = 10_000
ANSWER_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One record: `message` is None where it cannot be decoded, and `refused` says why; `at_ms` is the record's timestamp;
    `size_bytes` that of its body as it came."""

    topic: Topic
    message: Any
    refused: Refused | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    partition: int
    offset: int
    at_ms: int
    size_bytes: int


class Follower:
    """A reader without a group. Starts at the present end of each topic, at its beginning, or at `from_ms` (a record's time);
    `drain` reads up to the end as it then is. With `gather_ms` the broker answers that seldom, with what came meanwhile: for who
    need not know at once, and shares the machine with a line. Raises `ServiceAway`, and `ConfigurationError` for a topic that the
    broker does not have.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        settings: KafkaSettings,
        topics: Sequence[Topic],
        from_beginning: bool = False,
        from_ms: int | None = None,
        gather_ms: int = 0,
    ) -> None:
        self._topics = {topic.on(plant.plant): topic for topic in topics}
        self._servers = settings.bootstrap_servers
        try:
            self._consumer = KafkaConsumer(
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_bytes=4 * FETCH_BYTES,
                fetch_min_bytes=FETCH_BYTES if gather_ms else 1,
                fetch_max_wait_ms=gather_ms or FETCH_MAX_WAIT_MS,
                bootstrap_timeout_ms=ANSWER_MS,
                **settings.client(),
            )
            self._partitions = [TopicPartition(name, number) for name in self._topics for number in self._numbers(name)]
            self._consumer.assign(self._partitions)
            if from_beginning:
                self._consumer.seek_to_beginning(*self._partitions)
            else:
                self._consumer.seek_to_end(*self._partitions)
            if from_ms is not None:
                self._seek_to_time(from_ms)
            for partition in self._partitions:
                self._consumer.position(partition)
        except KafkaError as error:
            raise self._away(error) from error

    def poll(self, *, timeout_ms: int) -> Iterator[Seen]:
        """What arrived meanwhile, at most one fetch; waits up to `timeout_ms` for something."""
        try:
            batches = self._consumer.poll(timeout_ms=timeout_ms)
        except KafkaError as error:
            raise self._away(error) from error
        for partition, records in batches.items():
            topic = self._topics[partition.topic]
            for record in records:
                message, refused = None, None
                try:
                    message = decode(topic, record.value, record.headers)
                except Refused as error:
                    refused = error
                yield Seen(
                    topic=topic,
                    message=message,
                    refused=refused,
                    key=record.key,
                    headers=record.headers,
                    partition=record.partition,
                    offset=record.offset,
                    at_ms=record.timestamp,
                    size_bytes=len(record.value or b""),
                )

    def drain(self) -> Iterator[Seen]:
        """Everything up to the present end of all topics."""
        try:
            ends = self._consumer.end_offsets(self._partitions)
        except KafkaError as error:
            raise self._away(error) from error
        while any(self._consumer.position(partition) < ends[partition] for partition in self._partitions):
            seen = list(self.poll(timeout_ms=END_TIMEOUT_MS))
            if not seen:
                raise ServiceAway("the broker stopped answering while the last records were read")
            yield from seen

    def require_from(self, from_ms: int) -> None:
        """Raises ConfigurationError where retention has removed records that are younger than `from_ms`, ms since the epoch."""
        whole_from_ms = self._whole_from_ms()
        if whole_from_ms > from_ms:
            at = datetime.fromtimestamp(whole_from_ms / 1000, UTC).isoformat(timespec="seconds")
            topics = ", ".join(topic.name for topic in self._topics.values())
            raise ConfigurationError(f"expected a period from {at} on: what is older is not kept on {topics} any more")

    def keeps_from(self, from_ms: int) -> bool:
        """Whether retention has removed no record that is younger than `from_ms`, ms since the epoch."""
        return self._whole_from_ms() <= from_ms

    def _whole_from_ms(self) -> int:
        """From when on nothing was removed, ms since the epoch: 0 where nothing was, now where everything was."""
        try:
            begins = self._consumer.beginning_offsets(self._partitions)
            oldest = self._consumer.offsets_for_times(dict.fromkeys(self._partitions, 0))
        except KafkaError as error:
            raise self._away(error) from error
        cut = [oldest[partition] for partition, begin in begins.items() if begin > 0]
        return max((time.time_ns() // 1_000_000 if at is None else at.timestamp for at in cut), default=0)

    def _seek_to_time(self, from_ms: int) -> None:
        found = self._consumer.offsets_for_times(dict.fromkeys(self._partitions, max(0, from_ms)))
        for partition, at in found.items():
            if at is not None:  # none: nothing that young is there, and reading begins at the end
                self._consumer.seek(partition, at.offset)

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def _away(self, error: Exception) -> ServiceAway:
        return broker_away(self._servers, error)

    def _numbers(self, name: str) -> list[int]:
        numbers = self._consumer.partitions_for_topic(name)
        if not numbers:
            raise missing_topic(name, present=self._consumer.topics())
        return sorted(numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
