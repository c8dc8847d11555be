"""What is said of recipes on `readiness`: by PLC gateways which are wanted, by other processes which they keep on the shared Triton."""

from __future__ import annotations

import time
from collections.abc import Callable

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
ASKS = "plc_gateway"
KEEPS = ("inspect", "backfill")


class RecipeWishes:
    """What other processes said last; who is silent for `SILENT_AFTER_S` says nothing. Times are monotonic s."""

    def __init__(self, *, stage: str, instance: str) -> None:
        self._self = (stage, instance)
        self._heard: dict[tuple[str, str], tuple[StageReadiness, float]] = {}

    def hear(self, said: StageReadiness, *, now_s: float) -> None:
        """Takes a statement over, and forgets who is silent."""
        who = (said.stage, said.instance)
        if who != self._self and said.stage in (ASKS, *KEEPS):
            self._heard[who] = said, now_s
        self._heard = {key: heard for key, heard in self._heard.items() if now_s - heard[1] <= SILENT_AFTER_S}

    def selected(self, *, now_s: float) -> frozenset[str]:
        """What PLCs have selected."""
        return frozenset(recipe for said in self._present(now_s) for recipe in said.selected_recipes)

    def coming(self, *, now_s: float) -> frozenset[str]:
        """What PLCs announce."""
        return frozenset(recipe for said in self._present(now_s) for recipe in said.next_recipes)

    def kept(self, *, now_s: float) -> frozenset[str]:
        """What other processes have loaded, or are about to load: its models are not ours alone."""
        return frozenset(
            recipe for said in self._present(now_s) for recipe in (*said.warm_recipes, *said.lacking_reasons)
        )

    def someone_keeps_all(self, *, now_s: float) -> bool:
        """Whether there is a process of a release that loads everything at its start, and says nothing of what it has."""
        return any(
            said.stage == "inspect" and said.ready and not said.warm_recipes and not said.lacking_reasons
            for said in self._present(now_s)
        )

    def _present(self, now_s: float) -> list[StageReadiness]:
        return [said for said, at_s in self._heard.values() if now_s - at_s <= SILENT_AFTER_S]


async def follow(
    wishes: RecipeWishes, *, plant: Plant, stage: Stage, kafka: KafkaSettings, changed: Callable[[], None]
) -> None:
    """Listens from the topic's end on until cancelled, and calls `changed` after each statement; waits for a broker that is away."""
    place = TopicPartition(READINESS.on(plant.plant), 0)

    async def listen() -> None:
        consumer = AIOKafkaConsumer(**kafka.client(), enable_auto_commit=False, auto_offset_reset="latest")
        try:
            await consumer.start()
            consumer.assign([place])
            await consumer.seek_to_end(place)
            while True:
                for record in (await consumer.getmany(place, timeout_ms=FETCH_MS)).get(place, []):
                    try:
                        said = decode(READINESS, record.value, record.headers)
                    except Refused as error:
                        stage.emit(Noticed(what="readiness_refused", subject="", detail=str(error)))
                        continue
                    wishes.hear(said, now_s=time.monotonic())
                    changed()
        finally:
            await close(consumer)

    await patiently(listen, stage=stage, service="broker", away=(KafkaError, OSError))
