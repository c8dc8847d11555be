"""At the start of a stage: its plant's topics are made or verified, as soon as the broker is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from schemas.errors import ServiceAway
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import AttemptRepeated, Stage
from topologies.topic_admin import ensure_topics

FIRST_S = 2.0
"""A stage waits so long for the check before its work begins: a gateway has to work with the broker away."""


class TopicCheck:
    """Beside a stage's work until the broker has answered once. Entering waits up to 2 s for that.

    A difference is raised on entering, or, where the broker came later, on leaving; `on_failure` then asks the stage to end.
    """

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings, on_failure: Callable[[], None]) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._on_failure = on_failure

    async def __aenter__(self) -> Self:
        self._check = asyncio.create_task(self._until_answered())
        await asyncio.wait((self._check,), timeout=FIRST_S)
        if self._check.done():
            self._check.result()
        self._check.add_done_callback(self._note)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._check.cancel()
        (outcome,) = await asyncio.gather(self._check, return_exceptions=True)
        if isinstance(outcome, Exception) and error is None:
            raise outcome

    async def _until_answered(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                ensured = await ensure_topics(self._plant, kafka=self._kafka)
            except ServiceAway as away:
                self._stage.emit(AttemptRepeated(service="broker", detail=str(away), attempt=attempt))
                continue
            if ensured.created:
                self._stage.log.info("topics_created", topics=ensured.created)
            return

    def _note(self, check: asyncio.Task[None]) -> None:
        if not check.cancelled() and check.exception() is not None:
            self._on_failure()
