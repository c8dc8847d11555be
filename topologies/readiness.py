"""Says on `readiness` whether this process can work: a station's TriggerReady depends on it (gateways/handshake.py)."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.codec import encode
from schemas.patience import patiently, pause_s
from schemas.plant import Plant
from schemas.readiness import RecipeStatus, StageReadiness
from schemas.settings import KafkaSettings, StageSettings
from schemas.telemetry import AttemptRepeated, Stage
from schemas.topics import READINESS

LOOK_EVERY_S = 0.1
LOOKS_BEFORE_SAYING = 10
REQUEST_TIMEOUT_MS = 2_000
"""What was said while the broker was away is of no use to anybody later."""
FAREWELL_S = 1.0


class ReadinessTeller:
    """Beside a stage's work. Use as an async context manager; on leaving it says "not ready" once more."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._topic = READINESS.on(plant.plant)
        self._stage = stage
        self._kafka = kafka
        self._instance = StageSettings().instance
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._telling = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._telling.cancel()
        await asyncio.gather(self._telling, return_exceptions=True)
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._say(self._producer, ready=False)
        except (KafkaError, TimeoutError):
            pass  # the silence says it
        await close(self._producer)

    async def _tell(self) -> None:
        self._producer = await patiently(self._connect, stage=self._stage, service="broker", away=(KafkaError, OSError))
        attempt = 0
        while True:
            said = self._state
            try:
                await self._say(self._producer, ready=said[0])
                attempt = 0
            except KafkaError as error:
                attempt += 1
                self._stage.emit(AttemptRepeated(service="broker", detail=f"{self._topic}: {error!r}", attempt=attempt))
                await asyncio.sleep(pause_s(attempt))
                continue
            for _ in range(LOOKS_BEFORE_SAYING):
                await asyncio.sleep(LOOK_EVERY_S)
                if self._state != said:
                    break

    @property
    def _state(self) -> tuple[bool, RecipeStatus]:
        return self._stage.ready, self._stage.recipes

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._kafka.client(), acks=1, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await producer.start()
        except BaseException:
            await close(producer)
            raise
        return producer

    async def _say(self, producer: AIOKafkaProducer, *, ready: bool) -> None:
        now_ns = time.time_ns()
        recipes = self._stage.recipes
        encoded = encode(
            READINESS,
            StageReadiness(
                id=f"{self._stage.name}/{self._instance}/{now_ns}",
                stage=self._stage.name,
                instance=self._instance,
                ready=ready,
                said_at_ns=now_ns,
                lacking_recipes=recipes.lacking,
                warm_recipes=recipes.warm,
                lacking_reasons=dict(recipes.reasons),
                selected_recipes=recipes.selected,
                next_recipes=recipes.coming,
            ),
        )
        await producer.send_and_wait(self._topic, encoded.value, key=self._stage.name.encode(), headers=encoded.headers)
