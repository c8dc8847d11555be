"""The last records of a topic's partitions: what a gateway that starts again must know about its former life."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused, Transient
from schemas.settings import KafkaSettings
from schemas.topics import MIB_BYTES, Topic

LAST_RECORDS = 4096
"""Per partition. What a ring still holds and lies before these records is told a second time, with the same id."""
WITHIN_S = 15.0


async def read_tail(
    topic: Topic, *, plant: str, kafka: KafkaSettings, partitions: Collection[int] | None = None
) -> list[Any]:
    """Messages among the last records of `partitions` (all where None), each partition in its order.

    Records that cannot be decoded are left out: a reader of the topic refuses them. Raises `Transient` where the broker is away.
    """
    consumer = AIOKafkaConsumer(
        topic.on(plant),
        **kafka.client(),
        enable_auto_commit=False,
        fetch_max_bytes=8 * MIB_BYTES,
        fetch_max_wait_ms=20,  # it starts at the end, where a fetch would wait for news before the seek takes effect
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            await consumer.start()
            return await _read(consumer, topic, plant, partitions)
    except (KafkaError, TimeoutError, OSError) as error:
        raise Transient(f"the end of {topic.on(plant)} cannot be read: {error!r}") from error
    finally:
        await close(consumer)


async def _read(consumer: AIOKafkaConsumer, topic: Topic, plant: str, partitions: Collection[int] | None) -> list[Any]:
    name = topic.on(plant)
    present = consumer.partitions_for_topic(name)
    if present is None:
        raise Transient(f"topic {name} does not exist yet")
    places = [TopicPartition(name, number) for number in sorted(present if partitions is None else partitions)]
    begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    found: list[Any] = []
    for place in places:
        consumer.seek(place, max(begins[place], ends[place] - LAST_RECORDS))
        while await consumer.position(place) < ends[place]:
            for record in (await consumer.getmany(place, timeout_ms=200)).get(place, []):
                try:
                    found.append(decode(topic, record.value, record.headers))
                except Refused:
                    continue
    return found
