"""The alerts stage: the plant file's rules over verdicts, inspections and PLC events; to the topic, to webhooks, to the PLC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from aiokafka.partitioner import murmur2

from processors.alerting import Alerting, AlertStep
from processors.measured_charts import subgroup_ms
from schemas.alert_rules import ChartRule, DefectRateRule
from schemas.errors import Refused
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import CHARTS, INSPECTIONS, PLC_EVENTS, VERDICTS, Topic
from topologies.alert_sender import alerts_so_far, send_steps
from topologies.background import until_one_ends
from topologies.event_runner import EventRunner
from topologies.history import CLOCK_MARGIN_MS, History, start_of_memory_ms
from topologies.producer import Outgoing, Producer
from topologies.records import Record
from topologies.webhooks import Webhooks

REMEMBERED_MS = 60_000
"""Inspections and PLC events of so long are read back; verdicts as long as the longest rate window."""


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained."""
    kafka = KafkaSettings()
    handler = Alerts(plant=plant, stage=stage, kafka=kafka)
    topics = (VERDICTS, INSPECTIONS, PLC_EVENTS, *((CHARTS,) if _watches_charts(plant) else ()))
    runner = EventRunner(plant=plant, stage=stage, topics=topics, handler=handler, kafka=kafka)
    webhooks = Webhooks(plant=plant, stage=stage, kafka=kafka)
    await until_one_ends(runner.run(stop), webhooks.run())


class Alerts:
    """The handler: all rules over the stations whose partitions are ours."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._alerting: Alerting | None = None
        self._producer: Producer
        self._open_gauge = stage.gauge("open", "Open alerts.", "rule")

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Reads back the alerts that are open, and what the rules have to remember."""
        self._producer = producer
        stations = frozenset(
            station.name
            for station in self._plant.stations
            if _partition_of(station.name, self._plant.kafka.partitions) in partitions
        )
        alerting = Alerting(plant=self._plant, stations=stations)
        async with History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history:
            async for alert in alerts_so_far(history, self._plant):
                alerting.recall_alert(alert, now_ns=time.time_ns())
            rate_ms = max(
                (rule.window_ms for rule in self._plant.alerts if isinstance(rule, DefectRateRule)), default=0
            )
            await self._remember(alerting, history, VERDICTS, partitions, held_ms=rate_ms, margin_ms=CLOCK_MARGIN_MS)
            for topic in (PLC_EVENTS, INSPECTIONS):
                await self._remember(alerting, history, topic, partitions, held_ms=REMEMBERED_MS, margin_ms=0)
            if _watches_charts(self._plant):
                await self._remember(
                    alerting, history, CHARTS, partitions, held_ms=_points_ms(self._plant), margin_ms=0
                )
        self._alerting = alerting

    async def take(self, record: Record) -> None:
        """Judges a message."""
        assert self._alerting is not None, "records come after the assignment"
        at_ns = record.at_ms * 1_000_000
        await self._send(self._alerting.take(record.message, at_ns=at_ns, now_ns=time.time_ns()), record.traceparent)
        record.finish()

    async def tick(self, now_ns: int) -> None:
        """Silences, clearances, repetitions."""
        if self._alerting is not None:
            await self._send(self._alerting.tick(now_ns))

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a record that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Every record was finished as it came."""
        self._alerting = None

    async def _send(self, steps: list[AlertStep], traceparent: bytes | None = None) -> None:
        await send_steps(self._producer, steps, traceparent=traceparent)
        if self._alerting is not None:
            for rule, number in self._alerting.open_alerts.items():
                self._open_gauge.labels(rule).set(number)

    async def _remember(
        self,
        alerting: Alerting,
        history: History,
        topic: Topic,
        partitions: frozenset[int],
        *,
        held_ms: int,
        margin_ms: int,
    ) -> None:
        for number, committed in sorted((await history.committed(topic, partitions)).items()):
            from_ms = await start_of_memory_ms(history, topic, number, committed=committed, held_ms=held_ms)
            async for found in history.since(
                topic, number, from_ms=from_ms, until_offset=committed, margin_ms=margin_ms
            ):
                alerting.recall(found.message, at_ns=found.at_ms * 1_000_000, now_ns=time.time_ns())


def _watches_charts(plant: Plant) -> bool:
    return any(isinstance(rule, ChartRule) for rule in plant.alerts)


def _points_ms(plant: Plant) -> int:
    """How long as many points take as a rule waits for before it clears."""
    charts = plant.statistics.charts
    lengths = {chart.name: chart.window_ms or subgroup_ms(chart, plant) for chart in charts}
    return max(
        (lengths[rule.chart] * (rule.clear_after_points + 1) for rule in plant.alerts if isinstance(rule, ChartRule)),
        default=0,
    )


def _partition_of(key: str, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions
