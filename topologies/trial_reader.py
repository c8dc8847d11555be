"""What live parts say, for the trials that go on: `shadows`, `inspections`, `verdicts` and `reviews`, read back to where a trial began.

It belongs to no consumer group and commits nothing: whatever was read before a restart is read again, and the fold is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.topics import INSPECTIONS, REVIEWS, SHADOWS, VERDICTS, Topic

TOPICS = (SHADOWS, INSPECTIONS, VERDICTS, REVIEWS)
MARGIN_MS = 60_000
"""Clocks of broker and producers may differ by so much: reading begins that much earlier, the evidence goes by the messages' times."""
FETCH_MS = 250
MOST_RECORDS = 2_000


class TrialReader:
    """One client over all partitions of the four topics. Use as an async context manager; raises KafkaError where the broker is away."""

    def __init__(self, *, plant: Plant, kafka: KafkaSettings) -> None:
        self._plant = plant.plant
        self._client = AIOKafkaConsumer(**kafka.client(), enable_auto_commit=False, auto_offset_reset="earliest")
        self._topics: dict[TopicPartition, Topic] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connects."""
        await self._client.start()

    async def stop(self) -> None:
        """Ends the connection."""
        await close(self._client)

    async def read_from(self, from_ns: int) -> None:
        """Goes on reading at this moment."""
        cluster = await self._client._client.fetch_all_metadata()
        self._topics = {
            TopicPartition(topic.on(self._plant), number): topic
            for topic in TOPICS
            for number in cluster.partitions_for_topic(topic.on(self._plant)) or ()
        }
        places = list(self._topics)
        self._client.assign(places)
        self._ends = await self._client.end_offsets(places)
        at_ms = max(0, from_ns // NS_PER_MS - MARGIN_MS)
        found = await self._client.offsets_for_times(dict.fromkeys(places, at_ms))
        for place in places:
            first = found.get(place)
            self._client.seek(place, self._ends[place] if first is None else first.offset)

    async def next(self) -> Sequence[Any]:
        """The next messages, of whatever topic; none where nothing came for `FETCH_MS`. What cannot be decoded was refused by its stage."""
        fetched = await self._client.getmany(timeout_ms=FETCH_MS, max_records=MOST_RECORDS)
        messages = []
        for place, records in fetched.items():
            for record in records:
                try:
                    messages.append(decode(self._topics[place], record.value, record.headers))
                except Refused:
                    continue
        return messages

    async def is_up_to_date(self) -> bool:
        """Whether everything was read that lay on the topics when reading began: less would be half of the evidence."""
        return all([await self._client.position(place) >= end for place, end in self._ends.items()])
