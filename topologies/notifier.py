"""Decides who is told of each alert: reads `alerts` and `alert-responses`, writes `notifications`; its readers are in `receivers`.

The hourly bound of a receiver counts alerts of all partitions, so one process decides: the one that owns the only partition of
`alert-responses`. At the start it reads everything back: notifications, which say what was decided, then responses and alerts.
Alerts are few: their topic is read whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from processors.notifying import Notifying
from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.notifications import Notification
from schemas.patience import pause_s
from schemas.plant import Plant
from schemas.settings import BudgetSettings, KafkaSettings, StageSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import ALERT_RESPONSES, ALERTS, BY_NAME, NOTIFICATIONS, Topic
from topologies.dead_letters import record_of, refuse
from topologies.history import History
from topologies.membership import Ownership, new_consumer
from topologies.producer import Outgoing, Producer

POLL_MS = 250
MOST_AT_ONCE = 500


class Notifier:
    """The decisions for all receivers of a plant file."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._decisions = stage.counter("notifications", "Notifications by what was decided.", "decision")
        self._owns = False
        self._producer: Producer

    async def run(self) -> None:
        """Runs until it is cancelled; a broker that is away is waited for."""
        if not self._plant.receivers:
            await asyncio.Event().wait()
        attempt = 0
        async with Producer(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as self._producer:
            while True:
                try:
                    await self._session_with_broker()
                except KafkaError as error:
                    attempt += 1
                    self._stage.emit(AttemptRepeated(service="broker", detail=f"notifier: {error!r}", attempt=attempt))
                    await asyncio.sleep(pause_s(attempt))

    async def _session_with_broker(self) -> None:
        group, topic = f"{self._plant.plant}.{self._stage.name}.notifier", ALERT_RESPONSES.on(self._plant.plant)
        lease = new_consumer(
            kafka=self._kafka,
            group=group,
            instance=f"{group}.{StageSettings().instance}",
            topics=[topic],
            partitions=1,
            fetched_bytes=BudgetSettings().fetched_bytes,
            listener=Ownership(topics=[topic], on_assigned=self._note_assigned, on_revoked=self._note_revoked),
        )
        self._owns = False
        try:
            await lease.start()
            while True:
                if self._owns:
                    await self._decide(lease)
                await lease.getmany(timeout_ms=POLL_MS)  # what is read here is read by `_decide`, too
        finally:
            await close(lease)

    def _note_assigned(self, partitions: frozenset[int]) -> None:
        self._owns = bool(partitions)

    async def _note_revoked(self) -> None:
        self._owns = False

    async def _decide(self, lease: AIOKafkaConsumer) -> None:
        """Returns when another process decides."""
        notifying = Notifying(plant=self._plant)
        async with (
            History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history,
            AIOKafkaConsumer(
                **self._kafka.client(), enable_auto_commit=False, auto_offset_reset="earliest"
            ) as follower,
        ):
            await self._read_back(notifying, history)
            places = [TopicPartition(ALERT_RESPONSES.on(self._plant.plant), 0)] + [
                TopicPartition(ALERTS.on(self._plant.plant), number) for number in range(self._plant.kafka.partitions)
            ]
            follower.assign(places)
            ends = await follower.end_offsets(places)
            await follower.seek_to_beginning(*places)
            while self._owns:
                batches = await follower.getmany(timeout_ms=POLL_MS, max_records=MOST_AT_ONCE)
                # responses first: what was silenced or acknowledged before an alert is not told
                found = []
                for place in sorted(batches, key=lambda place: place.topic != places[0].topic):
                    for raw in batches[place]:
                        is_new = raw.offset >= ends[place]
                        found += await self._taken(notifying, self._topic_of(place), raw, is_new=is_new)
                if all([await follower.position(place) >= ends[place] for place in places]):
                    found += notifying.tick(time.time_ns())  # not before everything is read: what is open may be over
                await self._send(found)
                await lease.getmany(timeout_ms=0)

    async def _read_back(self, notifying: Notifying, history: History) -> None:
        for topic, note in ((NOTIFICATIONS, notifying.recall), (ALERT_RESPONSES, notifying.respond)):
            end = await history.end(topic, 0)
            async for found in history.since(topic, 0, from_ms=0, until_offset=end):
                note(found.message)
        notifying.begin(time.time_ns())

    async def _taken(self, notifying: Notifying, topic: Topic, raw: Any, *, is_new: bool) -> list[Notification]:
        try:
            message = decode(topic, raw.value, raw.headers)
        except Refused as refused:
            if is_new:  # what is read back became a dead letter when it was new
                await refuse(record_of(topic, raw), refused, stage=self._stage, producer=self._producer)
            return []
        if topic is ALERT_RESPONSES:
            notifying.respond(message)
            return []
        return notifying.take(message, now_ns=time.time_ns())

    async def _send(self, notifications: Sequence[Notification]) -> None:
        if not notifications:
            return
        await self._producer.send(
            [Outgoing(topic=NOTIFICATIONS, key=each.receiver, message=each) for each in notifications]
        )
        for each in notifications:
            self._decisions.labels(each.reason.value if each.reason else each.kind.value).inc()

    def _topic_of(self, place: TopicPartition) -> Topic:
        return BY_NAME[place.topic.removeprefix(f"{self._plant.plant}.")]
