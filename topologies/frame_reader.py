"""Reads single frames again by their place on the topic: without a group, one record at a time, nothing around it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError

from schemas.closing import close
from schemas.codec import decode
from schemas.frames import Frame
from schemas.patience import pause_s
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import FRAMES

PATIENCE_S = 10.0
POLL_MS = 500
ONE_BATCH_BYTES = 1
"""A broker sends the first batch whatever its size (KIP-74): so a fetch brings the frame that is wanted and no megabytes after it."""


class FrameReader:
    """Reads frames of one plant. Use as an async context manager; waits for a broker that is away, visibly."""

    def __init__(self, *, plant: str, stage: Stage, kafka: KafkaSettings) -> None:
        self._topic = FRAMES.on(plant)
        self._stage = stage
        self._kafka = kafka
        self._client: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop_client()

    async def read(self, partition: int, offset: int) -> Frame | None:
        """The frame at a place; None where it is not there (any more). Raises Refused for one that cannot be decoded."""
        record = await self.fetch(partition, offset)
        if record is None:
            return None
        frame: Frame = decode(FRAMES, record.value, record.headers)
        return frame

    async def fetch(self, partition: int, offset: int) -> Any:
        """The record at a place as the client gives it, not decoded; None where it is not there (any more)."""
        place, attempt = TopicPartition(self._topic, partition), 0
        while True:
            async with self._turn:
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        return await self._fetch(place, offset)
                except (KafkaError, TimeoutError) as error:
                    attempt += 1
                    detail = f"reading a frame: {error!r}"
                    self._stage.emit(AttemptRepeated(service="broker", detail=detail, attempt=attempt))
                    await self._drop_client()
            await asyncio.sleep(pause_s(attempt))

    async def _fetch(self, place: TopicPartition, offset: int) -> Any:
        client = await self._connected()
        if place not in client.assignment():
            return None  # the topic was made anew with fewer partitions
        # asked before, since a consumer that seeks outside of what there is waits for a record that never comes
        oldest = (await client.beginning_offsets([place]))[place]
        end = (await client.end_offsets([place]))[place]
        if not oldest <= offset < end:
            return None
        client.seek(place, offset)
        client.resume(place)
        try:
            # a batch whole: of one that is begun, the client waits a while for us to ask for the rest, on all partitions
            found: list[Any] = []
            while not found:
                found = (await client.getmany(place, timeout_ms=POLL_MS)).get(place, [])
        except OffsetOutOfRangeError:
            return None  # retention was faster
        finally:
            client.pause(place)  # nothing after it is fetched
        return found[0] if found[0].offset == offset else None

    async def _connected(self) -> AIOKafkaConsumer:
        if self._client is None:
            client = AIOKafkaConsumer(
                **self._kafka.client(),
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=ONE_BATCH_BYTES,
                fetch_max_wait_ms=100,
            )
            try:
                await client.start()
                metadata = await client._client.fetch_all_metadata()
                numbers = metadata.partitions_for_topic(self._topic)
                if not numbers:
                    raise UnknownTopicOrPartitionError(self._topic)  # a broker that has just started: nothing is gone
                places = [TopicPartition(self._topic, number) for number in sorted(numbers)]
                client.assign(places)
                client.pause(*places)
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
