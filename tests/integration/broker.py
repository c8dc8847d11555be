"""What integration tests say to a real broker: publish records as they stand, read a topic to its end, look at commits."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.codec import decode, encode
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import Topic

WAIT_S = 60.0


async def until(condition: Callable[[], Any], what: str, *, within_s: float = WAIT_S) -> None:
    """Returns as soon as `condition` (a function or coroutine function) holds; fails after `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = condition()
                if await found if inspect.isawaitable(found) else found:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


async def publish_raw(
    kafka: KafkaSettings,
    plant: Plant,
    topic: Topic,
    records: Iterable[tuple[str, bytes | None, list[tuple[str, bytes]]]],
) -> None:
    """Publishes (key, value, headers) as they are."""
    async with AIOKafkaProducer(**kafka.client(), acks="all", max_request_size=6 << 20) as producer:
        acknowledgements = [
            await producer.send(topic.on(plant.plant), key=key.encode(), value=value, headers=headers)
            for key, value, headers in records
        ]
        await asyncio.gather(*acknowledgements)


async def publish(kafka: KafkaSettings, plant: Plant, topic: Topic, messages: Iterable[tuple[str, Any]]) -> None:
    """Publishes (key, message)."""
    encoded = ((key, encode(topic, message)) for key, message in messages)
    await publish_raw(kafka, plant, topic, ((key, found.value, found.headers) for key, found in encoded))


async def read_to_end(kafka: KafkaSettings, plant: Plant, topic: Topic) -> list[Any]:
    """All messages that lie on a topic now, partition by partition, in order."""
    found = []
    async with AIOKafkaConsumer(**kafka.client(), max_partition_fetch_bytes=6 << 20) as consumer:
        name = topic.on(plant.plant)
        numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(name)
        places = [TopicPartition(name, number) for number in sorted(numbers)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
        for place in places:
            while await consumer.position(place) < ends[place]:
                record = await consumer.getone(place)
                found.append(decode(topic, record.value, record.headers))
    return found


async def read_until(
    kafka: KafkaSettings, plant: Plant, topic: Topic, count: int, *, within_s: float = WAIT_S
) -> list[Any]:
    """All messages of a topic as soon as there are at least `count`; fails after `within_s`."""
    found: list[Any] = []

    async def enough() -> bool:
        found[:] = await read_to_end(kafka, plant, topic)
        return len(found) >= count

    await until(enough, f"{topic.name} has {count} records", within_s=within_s)
    return found


async def committed(kafka: KafkaSettings, group: str, *, topic: str | None = None) -> int:
    """The sum of a group's committed offsets (of one topic): how many records it never reads again, where topics start at offset 0."""
    admin = AIOKafkaAdminClient(**kafka.client())
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
        return sum(
            found.offset for place, found in offsets.items() if found.offset >= 0 and topic in (None, place.topic)
        )
    finally:
        await admin.close()
