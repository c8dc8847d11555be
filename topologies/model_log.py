"""The topics `models` and `retraining`, followed from their beginning: where every version stands now, and what is asked for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from processors.model_registry import Registry
from schemas.alerts import RetrainingTrigger
from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.patience import patiently
from schemas.plant import Plant
from schemas.records import ModelEvent
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import MODELS, RETRAINING, Topic

FETCH_MS = 250
KEPT_TRIGGERS = 1_000
KEPT_IDS = 1_000


class ModelLog:
    """`run` follows; the rest is what was read so far. Make it inside the running loop."""

    def __init__(self, *, plant: Plant, stage: Stage) -> None:
        self._plant = plant
        self._stage = stage
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._changed = asyncio.Condition()
        self.registry = Registry()
        self.triggers: OrderedDict[str, RetrainingTrigger] = OrderedDict()
        self.began = asyncio.Event()
        """Set when both topics were read up to where they ended."""

    async def run(self, kafka: KafkaSettings) -> None:
        """Follows both topics until cancelled; waits for a broker that is away."""
        listen = partial(self._listen, kafka)
        await patiently(listen, stage=self._stage, service="broker", away=(KafkaError, OSError))

    async def has(self, event_id: str) -> None:
        """Returns when this record of `models` was read."""
        async with self._changed:
            await self._changed.wait_for(lambda: event_id in self._seen)

    async def _listen(self, kafka: KafkaSettings) -> None:
        topics = {TopicPartition(topic.on(self._plant.plant), 0): topic for topic in (MODELS, RETRAINING)}
        consumer = AIOKafkaConsumer(**kafka.client(), enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            await consumer.start()
            consumer.assign(list(topics))
            await consumer.seek_to_beginning(*topics)
            ends = await consumer.end_offsets(list(topics))
            while True:
                for place, records in (await consumer.getmany(timeout_ms=FETCH_MS)).items():
                    for record in records:
                        self._take(topics[place], record)
                if not self.began.is_set() and all([await consumer.position(each) >= ends[each] for each in topics]):
                    self.began.set()
                async with self._changed:
                    self._changed.notify_all()
        finally:
            await close(consumer)

    def _take(self, topic: Topic, record: object) -> None:
        try:
            message = decode(topic, record.value, record.headers)  # type: ignore[attr-defined]  # aiokafka has no types
        except Refused as refused:
            self._stage.emit(Noticed(what="model_step_refused", subject="", detail=str(refused)))
            return
        if isinstance(message, ModelEvent):
            self._step(message)
            return
        self.triggers[message.id] = message
        if len(self.triggers) > KEPT_TRIGGERS:
            self.triggers.popitem(last=False)

    def _step(self, event: ModelEvent) -> None:
        step = self.registry.take(event)
        if (
            step.refused and event.id not in self._seen and self.began.is_set()
        ):  # what was refused long ago was told then
            self._stage.emit(Noticed(what="model_step_refused", subject=event.id, detail=step.refused))
        self._seen[event.id] = None
        if len(self._seen) > KEPT_IDS:
            self._seen.popitem(last=False)
