"""Which stages are there right now, as they say on `readiness`."""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.closing import close
from schemas.codec import decode
from schemas.errors import Refused
from schemas.patience import patiently
from schemas.plant import Plant
from schemas.readiness import StageReadiness
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import READINESS

SILENT_AFTER_S = 3.0
FETCH_MS = 500


class Presence:
    """What was said, and when it was heard (monotonic s). A process that has not been heard for `SILENT_AFTER_S` is away."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Set with everything that is heard."""
        self._heard: dict[tuple[str, str], tuple[StageReadiness, float]] = {}

    def hear(self, said: StageReadiness, *, now_s: float) -> None:
        """Takes a statement over; what is silent is forgotten, so that processes that come and go do not add up."""
        self._heard[said.stage, said.instance] = said, now_s
        self._heard = {who: heard for who, heard in self._heard.items() if now_s - heard[1] <= SILENT_AFTER_S}
        self.changed.set()

    def hears_anyone(self, *, now_s: float) -> bool:
        """Whether a process of another stage said anything of late: else the broker is away, or no stage runs."""
        return any(now_s - at_s <= SILENT_AFTER_S for said, at_s in self._heard.values() if said.stage != "plc_gateway")

    def is_ready(self, stage: str, *, now_s: float) -> bool:
        """Whether at least one process of the stage said of late that it can work."""
        return any(
            said.ready and now_s - at_s <= SILENT_AFTER_S for said, at_s in self._heard.values() if said.stage == stage
        )

    def lacks(self, recipe: str, *, now_s: float) -> str:
        """What an inspect process that works lacks to do the recipe, "" where none does: a part may come to just that one."""
        if not recipe:
            return ""
        for who, (said, at_s) in sorted(self._heard.items()):
            if said.stage != "inspect" or not said.ready or now_s - at_s > SILENT_AFTER_S:
                continue
            # a release before this one lists only what it lacks
            unknown = bool(said.warm_recipes) and recipe not in said.warm_recipes
            if recipe in said.lacking_recipes or unknown:
                return f"{'/'.join(who)}: {said.lacking_reasons.get(recipe, 'not loaded')}"
        return ""


class ReadinessWatch:
    """Follows the topic from its end on."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self.presence = Presence()
        self._place = TopicPartition(READINESS.on(plant.plant), 0)
        self._stage = stage
        self._kafka = kafka

    async def run(self) -> None:
        """Listens until cancelled; with the broker away everybody falls silent."""
        while True:
            await patiently(self._listen, stage=self._stage, service="broker", away=(KafkaError, OSError))

    async def _listen(self) -> None:
        consumer = AIOKafkaConsumer(**self._kafka.client(), enable_auto_commit=False, auto_offset_reset="latest")
        try:
            await consumer.start()
            consumer.assign([self._place])
            await consumer.seek_to_end(self._place)
            while True:
                for record in (await consumer.getmany(self._place, timeout_ms=FETCH_MS)).get(self._place, []):
                    try:
                        said = decode(READINESS, record.value, record.headers)
                    except Refused as error:
                        self._stage.emit(Noticed(what="readiness_refused", subject="", detail=str(error)))
                        continue
                    self.presence.hear(said, now_s=time.monotonic())
        finally:
            await close(consumer)
