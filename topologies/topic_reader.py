"""Whole topics, from anywhere to their present end, oldest record first: for the ledger and the summary.

Without a group and in bounded memory. A stage that reads back its own memory uses `history`, which waits for the broker; here a
person is waiting, so silence becomes ServiceAway.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.broker_away import broker_away
from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused, ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import Topic, missing_topic

FETCH_BYTES = 512 * 1024  # per partition; the broker sends a larger record nevertheless, alone
FETCH_WAIT_MS = 100
POLL_MS = 200
SILENCE_S = 30.0


class Place(NamedTuple):
    """A partition of a topic of the catalogue, by its name there."""

    topic: str
    partition: int


class Span(NamedTuple):
    """The offsets that a partition holds: `first` is the oldest one kept, `end` the one that comes next."""

    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One record as it lies on its topic. `message` is None where it cannot be decoded; `refused` then says why."""

    topic: Topic
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    message: Any
    refused: Refused | None


class TopicReader:
    """A reader of one plant's topics. Use as an async context manager. All methods raise ServiceAway after 30 s of silence."""

    def __init__(self, *, plant: Plant, kafka: KafkaSettings | None = None) -> None:
        self._plant = plant.plant
        self._kafka = kafka or KafkaSettings()
        self._consumer: Any = None

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            **self._kafka.client(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await self._consumer.start()
        except KafkaError as error:
            await close(self._consumer)
            raise broker_away(self._kafka.bootstrap_servers, error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close(self._consumer)

    async def spans(self, topics: Iterable[Topic]) -> dict[Place, Span]:
        """What each partition of `topics` holds now. Raises ConfigurationError for a topic that the broker does not have."""
        cluster = await self._answer(self._consumer._client.fetch_all_metadata())
        places: dict[TopicPartition, Place] = {}
        for topic in topics:
            name = topic.on(self._plant)
            numbers = cluster.partitions_for_topic(name)
            if not numbers:
                raise missing_topic(name, present=cluster.topics())
            places |= {TopicPartition(name, number): Place(topic.name, number) for number in sorted(numbers)}
        first = await self._answer(self._consumer.beginning_offsets(list(places)))
        end = await self._answer(self._consumer.end_offsets(list(places)))
        return {place: Span(first[at], end[at]) for at, place in places.items()}

    async def read(self, topics: Sequence[Topic], spans: Mapping[Place, Span]) -> AsyncIterator[Stored]:
        """The records of `spans`, decoded, oldest first by record time over all partitions, in order within each.

        Holds at most one fetch per partition.
        """
        by_name = {topic.name: topic for topic in topics}
        feeds = {
            TopicPartition(by_name[place.topic].on(self._plant), place.partition): _Feed(by_name[place.topic], span)
            for place, span in spans.items()
            if span.first < span.end
        }
        self._consumer.assign(list(feeds))
        for at, feed in feeds.items():
            self._consumer.seek(at, feed.span.first)
        numbers = {at: number for number, at in enumerate(feeds)}
        heads: list[tuple[int, int, TopicPartition]] = []
        waiting = set(feeds)
        while waiting or heads:
            for at in await self._fetch(waiting, feeds):
                waiting.discard(at)
                # what is not waited for is not fetched: a request waits for data of the partitions that it names
                self._consumer.pause(at)
                if feeds[at].records:
                    heapq.heappush(heads, (feeds[at].records[0].timestamp, numbers[at], at))
            while heads and not waiting:
                _, number, at = heapq.heappop(heads)
                feed = feeds[at]
                yield _stored(feed.topic, feed.records.popleft())
                if feed.records:
                    heapq.heappush(heads, (feed.records[0].timestamp, number, at))
                elif not feed.is_at_end:
                    waiting.add(at)
                    self._consumer.resume(at)

    async def _fetch(self, waiting: set[TopicPartition], feeds: dict[TopicPartition, _Feed]) -> list[TopicPartition]:
        """Returns those of `waiting` that have records now, or are at their end: at least one of them."""
        if not waiting:
            return []
        try:
            async with asyncio.timeout(SILENCE_S):
                while True:
                    batches = await self._consumer.getmany(timeout_ms=POLL_MS)
                    for at, records in batches.items():
                        feeds[at].add(records)
                    for at in waiting:
                        feeds[at].position = await self._consumer.position(at)
                    settled = [at for at in waiting if feeds[at].records or feeds[at].is_at_end]
                    if settled:
                        return settled
        except (TimeoutError, KafkaError) as error:
            raise self._away(error) from error

    async def _answer(self, question: Any) -> Any:
        try:
            async with asyncio.timeout(SILENCE_S):
                return await question
        except (TimeoutError, KafkaError) as error:
            raise self._away(error) from error

    def _away(self, error: BaseException) -> ServiceAway:
        return ServiceAway(f"Kafka at {self._kafka.bootstrap_servers} did not answer within {SILENCE_S:g} s: {error!r}")


class _Feed:
    """What was fetched of one partition and not yielded yet."""

    def __init__(self, topic: Topic, span: Span) -> None:
        self.topic = topic
        self.span = span
        self.position = span.first
        self.records: deque[Any] = deque()

    @property
    def is_at_end(self) -> bool:
        return self.position >= self.span.end

    def add(self, records: Iterable[Any]) -> None:
        self.records.extend(record for record in records if record.offset < self.span.end)


def _stored(topic: Topic, raw: Any) -> Stored:
    headers = tuple(raw.headers)
    message, refused = None, None
    try:
        message = decode(topic, raw.value, headers)
    except Refused as error:
        refused = error
    return Stored(
        topic=topic,
        partition=raw.partition,
        offset=raw.offset,
        at_ms=raw.timestamp,
        key=raw.key,
        headers=headers,
        message=message,
        refused=refused,
    )


async def read_topics(
    plant: Plant, topics: Sequence[Topic], *, kafka: KafkaSettings | None = None
) -> AsyncIterator[Stored]:
    """Everything on `topics` up to their present ends, oldest first, decoded. Raises ServiceAway and ConfigurationError."""
    async with TopicReader(plant=plant, kafka=kafka) as reader:
        spans = await reader.spans(topics)
        async for stored in reader.read(topics, spans):
            yield stored
