"""The sensors stage: range and rate of change of sensor readings, to alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from processors.sensor_limits import SensorLimits
from schemas.alert_rules import SensorLimitRule
from schemas.errors import Refused
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import SENSORS
from topologies.alert_sender import alerts_so_far, send_steps
from topologies.dead_letters import refuse
from topologies.event_runner import EventRunner
from topologies.history import History, start_of_memory_ms
from topologies.producer import Outgoing, Producer
from topologies.records import Record

REMEMBERED_MS = 10_000
"""Readings of so long before a rule's `clear_after_ms` are read back: the last value of each channel."""


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained."""
    kafka = KafkaSettings()
    handler = Sensors(plant=plant, stage=stage, kafka=kafka)
    await EventRunner(plant=plant, stage=stage, topics=(SENSORS,), handler=handler, kafka=kafka).run(stop)


class Sensors:
    """The handler: the limits of all channels; those of assets in other partitions never get a reading here."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._limits: SensorLimits | None = None
        self._producer: Producer
        self._open_gauge = stage.gauge("open", "Open alerts.", "rule")

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Reads back the alerts that are open, and the last readings."""
        self._producer = producer
        limits = SensorLimits(plant=self._plant)
        clear_ms = max((r.clear_after_ms for r in self._plant.alerts if isinstance(r, SensorLimitRule)), default=0)
        async with History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history:
            async for alert in alerts_so_far(history, self._plant):
                limits.recall_alert(alert)
            for number, committed in sorted((await history.committed(SENSORS, partitions)).items()):
                from_ms = await start_of_memory_ms(
                    history, SENSORS, number, committed=committed, held_ms=clear_ms + REMEMBERED_MS
                )
                async for found in history.since(SENSORS, number, from_ms=from_ms, until_offset=committed, margin_ms=0):
                    limits.recall(found.message, at_ns=found.at_ms * 1_000_000)
        self._limits = limits

    async def take(self, record: Record) -> None:
        """Judges a reading."""
        assert self._limits is not None, "records come after the assignment"
        try:
            steps = self._limits.take(record.message, at_ns=record.at_ms * 1_000_000)
        except Refused as refused:
            await refuse(record, refused, stage=self._stage, producer=self._producer)
            record.finish()
            return
        if steps is None:
            self._stage.emit(Noticed(what="duplicate", subject=record.message.id))
        await send_steps(self._producer, steps or (), traceparent=record.traceparent)
        record.finish()

    async def tick(self, now_ns: int) -> None:
        """Repetitions."""
        if self._limits is None:
            return
        await send_steps(self._producer, self._limits.tick(now_ns))
        for rule, number in self._limits.open_alerts.items():
            self._open_gauge.labels(rule).set(number)

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a record that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Every record was finished as it came."""
        self._limits = None
