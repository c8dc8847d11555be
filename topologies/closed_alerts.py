"""Which alerts people have closed (`linesight alerts close`): follows `alert-responses` for a stage that raises alerts.

It belongs to no consumer group: each process of a stage reads all of the topic's one partition, for any of them may have the alert.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.notifications import AlertResponse, ResponseKind
from schemas.patience import pause_s
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import ALERT_RESPONSES
from topologies.history import History

POLL_MS = 500
HELD = 10_000
"""Closures, the newest: what was closed longer ago and is still open was closed while no process of the stage ran for long."""
WITHOUT_TOPIC_S = 5.0


class ClosedAlerts:
    """The closures so far, oldest first. `run` beside the stage, and ask for what came since the last time."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant.plant
        self._stage = stage
        self._kafka = kafka
        self._held: deque[AlertResponse] = deque(maxlen=HELD)
        self._ids: set[str] = set()
        self.count = 0

    def since(self, count: int) -> list[AlertResponse]:
        """What came when there were `count` already, as far as it is held."""
        return list(islice(reversed(self._held), self.count - count))[::-1]

    async def run(self) -> None:
        """Runs until it is cancelled; a broker that is away is waited for."""
        attempt = 0
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                attempt += 1
                detail = f"closed alerts: {error!r}"
                self._stage.emit(AttemptRepeated(service="broker", detail=detail, attempt=attempt))
                await asyncio.sleep(pause_s(attempt))

    async def _follow(self) -> None:
        async with History(plant=self._plant, stage=self._stage, kafka=self._kafka) as history:
            # a plant from before there were responses has no such topic, and nobody can close anything
            while not await history.partitions(ALERT_RESPONSES):  # noqa: ASYNC110  the broker tells of no new topic
                await asyncio.sleep(WITHOUT_TOPIC_S)
        place = TopicPartition(ALERT_RESPONSES.on(self._plant), 0)
        follower = AIOKafkaConsumer(**self._kafka.client(), enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            await follower.start()
            follower.assign([place])
            while True:
                for raw in (await follower.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                    try:
                        self._take(decode(ALERT_RESPONSES, raw.value, raw.headers))
                    except Refused:
                        continue  # the notifier makes it a dead letter
        finally:
            await close(follower)

    def _take(self, response: AlertResponse) -> None:
        if response.kind is not ResponseKind.CLOSED or response.id in self._ids:
            return
        if len(self._held) == HELD:
            self._ids.discard(self._held[0].id)
        self._held.append(response)
        self._ids.add(response.id)
        self.count += 1
