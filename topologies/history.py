"""What lies on a topic already: a stage reads back what its memory was made of, before it takes the first new record.

Reading is bounded: from a moment to an offset, both known before it begins. It belongs to no consumer group. What cannot be
decoded is passed over, for it became a dead letter when it was read first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.patience import pause_s
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import FRAME_LIMIT_BYTES, Topic

CLOCK_MARGIN_MS = 15 * 60_000
"""By how much the clocks of a broker and of a producer may differ: reading begins that much earlier where it has to be whole."""

PATIENCE_S = 10.0
FETCH_MAX_WAIT_MS = 10
"""What is read lies there already. The client asks on past its end, and what is read next would wait for that answer."""

Answer = TypeVar("Answer")
Decoder = Callable[[Topic, bytes | None, Iterable[tuple[str, bytes]]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A record that was read back: its message, its place and its time (ms since the epoch)."""

    message: Any
    partition: int
    offset: int
    at_ms: int


class History:
    """Reads back topics of one plant. Use as an async context manager; waits for a broker that is away, visibly."""

    def __init__(self, *, plant: str, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._client: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop_client()

    async def committed(self, topic: Topic, partitions: frozenset[int]) -> dict[int, int]:
        """The next offset that the stage's group will read of each partition; partitions without a commit are left out."""

        async def ask() -> dict[int, int]:
            admin = AIOKafkaAdminClient(**self._kafka.client())
            try:
                await admin.start()
                found = await admin.list_consumer_group_offsets(f"{self._plant}.{self._stage.name}")
            finally:
                await admin.close()
            name = topic.on(self._plant)
            return {
                place.partition: value.offset
                for place, value in found.items()
                if place.topic == name and place.partition in partitions and value.offset >= 0
            }

        return await self._patiently(ask)

    async def partitions(self, topic: Topic) -> int:
        """How many partitions a topic has; 0 where the broker does not have it."""

        async def ask() -> int:
            cluster = await (await self._connected())._client.fetch_all_metadata()
            return len(cluster.partitions_for_topic(topic.on(self._plant)) or ())

        return await self._patiently(ask)

    async def end(self, topic: Topic, partition: int) -> int:
        """The offset after the last record of a partition."""
        place = TopicPartition(topic.on(self._plant), partition)

        async def ask() -> int:
            return int((await (await self._connected()).end_offsets([place]))[place])

        return await self._patiently(ask)

    async def time_at(self, topic: Topic, partition: int, offset: int) -> int | None:
        """The time of the record at `offset` (or of the first one after it), ms since the epoch; None at the end."""
        end = await self.end(topic, partition)
        async for record in self._read(topic, partition, offset, end):
            return record.at_ms
        return None

    async def since(
        self,
        topic: Topic,
        partition: int,
        *,
        from_ms: int,
        until_offset: int,
        margin_ms: int = CLOCK_MARGIN_MS,
        decoded: Decoder = decode,
    ) -> AsyncIterator[Logged]:
        """The records of a partition from a moment on (less a margin for clocks), up to and without `until_offset`; `decoded` for who
        does not need all of a message."""
        place = TopicPartition(topic.on(self._plant), partition)

        async def ask() -> int | None:
            found = await (await self._connected()).offsets_for_times({place: max(0, from_ms - margin_ms)})
            return found[place].offset if found.get(place) else None

        first = await self._patiently(ask)
        if first is None:
            return
        async for record in self._read(topic, partition, first, until_offset, decoded):
            yield record

    async def between(
        self, topic: Topic, partition: int, *, from_offset: int, until_offset: int
    ) -> AsyncIterator[Logged]:
        """The records of a partition from an offset on, up to and without another one."""
        async for record in self._read(topic, partition, from_offset, until_offset):
            yield record

    async def _read(
        self, topic: Topic, partition: int, first: int, until: int, decoded: Decoder = decode
    ) -> AsyncIterator[Logged]:
        place, position = TopicPartition(topic.on(self._plant), partition), first
        while position < until:
            start = position

            async def fetch(start: int = start) -> tuple[list[Any], int]:
                client = await self._connected()
                if client.assignment() != {place} or await client.position(place) != start:
                    client.assign([place])
                    # retention may have removed what we ask for
                    oldest = (await client.beginning_offsets([place]))[place]
                    client.seek(place, max(start, oldest))
                found = (await client.getmany(place, timeout_ms=500)).get(place, [])
                if not found and start >= (await client.end_offsets([place]))[place]:
                    return [], until  # the topic was made anew: it ends earlier than it did
                return found, await client.position(place)

            records, position = await self._patiently(fetch)
            for raw in records:
                if raw.offset >= until:
                    return
                try:
                    message = decoded(topic, raw.value, raw.headers)
                except Refused:
                    continue
                yield Logged(message=message, partition=partition, offset=raw.offset, at_ms=raw.timestamp)

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await ask()
            except (KafkaError, TimeoutError) as error:
                attempt += 1
                self._stage.emit(AttemptRepeated(service="broker", detail=f"reading back: {error!r}", attempt=attempt))
                await self._drop_client()
                await asyncio.sleep(pause_s(attempt))

    async def _connected(self) -> AIOKafkaConsumer:
        if self._client is None:
            client = AIOKafkaConsumer(
                **self._kafka.client(),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FRAME_LIMIT_BYTES,
                fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            )
            try:
                await client.start()
            except BaseException:
                await close(client)
                raise
            self._client = client
        return self._client

    async def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        await close(client)


async def start_of_memory_ms(history: History, topic: Topic, partition: int, *, committed: int, held_ms: int) -> int:
    """From when on a memory of `held_ms` has to be read back for a stage that goes on at `committed`, ms since the epoch.

    It counts from the first record that is still to come: after a pause of a weekend that is Friday's.
    """
    at_ms = await history.time_at(topic, partition, committed)
    return max(0, (at_ms if at_ms is not None else time.time_ns() // 1_000_000) - held_ms)
