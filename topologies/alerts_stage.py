"""The alerts stage: the plant file's rules over verdicts, inspections and PLC events; to the topic, to receivers, to the PLC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from aiokafka.partitioner import murmur2

from processors.alert_actions import AlertStep
from processors.alert_challenge import challenge_memory_ms
from processors.alert_sight import Sight
from processors.alerting import Alerting
from processors.chart_windows import length_ms
from processors.measured_charts import subgroup_ms
from schemas.alert_rules import ChartRule, DefectRateRule
from schemas.chart_settings import is_windowed
from schemas.errors import Refused
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.telemetry import Stage
from schemas.topics import CHARTS, INSPECTIONS, PLC_EVENTS, VERDICTS, Topic
from topologies.alert_sender import alerts_so_far, send_steps, send_traced
from topologies.background import until_one_ends
from topologies.event_runner import EventRunner
from topologies.history import CLOCK_MARGIN_MS, History, start_of_memory_ms
from topologies.notifier import Notifier
from topologies.producer import Outgoing, Producer
from topologies.receivers import Receivers
from topologies.records import Record

MOST_WAITING = 64
"""Records whose alerts are sent together; a tick later at the latest, and at once where the machine is to do something."""
REMEMBERED_MS = 60_000
"""Inspections and PLC events of so long are read back; verdicts as long as the longest rate window, or as a challenge may take."""


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained."""
    kafka = KafkaSettings()
    handler = Alerts(plant=plant, stage=stage, kafka=kafka)
    topics = (VERDICTS, INSPECTIONS, PLC_EVENTS, *((CHARTS,) if _watches_charts(plant) else ()))
    runner = EventRunner(plant=plant, stage=stage, topics=topics, handler=handler, kafka=kafka)
    beside = [kind(plant=plant, stage=stage, kafka=kafka).run() for kind in (Notifier, Receivers)]
    await until_one_ends(runner.run(stop), *beside)


class Alerts:
    """The handler: all rules over the stations whose partitions are ours."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._alerting: Alerting | None = None
        self._sight = Sight()
        self._waiting: list[tuple[Record, list[AlertStep]]] = []
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
            held_ms = max(rate_ms, challenge_memory_ms(self._plant))
            await self._remember(alerting, history, VERDICTS, partitions, held_ms=held_ms, margin_ms=CLOCK_MARGIN_MS)
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
        steps = self._alerting.take(record.message, at_ns=at_ns, now_ns=time.time_ns())
        if not steps and not self._waiting:
            record.finish()
            return
        self._waiting.append((record, steps))
        if len(self._waiting) >= MOST_WAITING or any(step.command is not None for step in steps):
            await self._send_waiting()

    async def tick(self, now_ns: int) -> None:
        """What waits goes out; then silences, clearances, repetitions. A line that nobody sees, while the broker is away, is not silent.

        When the broker is back, that it was away goes out before what follows from it.
        """
        sees = self._sight.sees(in_contact=self._stage.ready, now_ns=now_ns)
        if self._alerting is not None and (outage := self._sight.take_outage()) is not None:
            await send_steps(self._producer, self._alerting.take(outage, at_ns=outage.back_at_ns, now_ns=now_ns))
        if not self._sight.is_lost:
            await self._send_waiting()
        if sees and self._alerting is not None:
            await send_steps(self._producer, self._alerting.tick(now_ns))
            self._show_open()

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a record that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """What waits goes out."""
        await self._send_waiting()
        self._alerting = None

    async def _send_waiting(self) -> None:
        """Alerts of several records in one go: in a storm each would wait for the broker by itself."""
        waiting, self._waiting = self._waiting, []
        await send_traced(self._producer, [(step, record.traceparent) for record, steps in waiting for step in steps])
        for record, _ in waiting:
            record.finish()
        self._show_open()

    def _show_open(self) -> None:
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
    lengths = {
        chart.name: length_ms(chart, plant.statistics) if is_windowed(chart) else subgroup_ms(chart, plant)
        for chart in charts
    }
    return max(
        (lengths[rule.chart] * (rule.clear_after_points + 1) for rule in plant.alerts if isinstance(rule, ChartRule)),
        default=0,
    )


def _partition_of(key: str, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key."""
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions
