"""The sensors stage: range and rate of change of sensor readings, assets that left their normal operation, charts of measurements."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from processors.asset_watches import AssetWatches
from processors.measured_charts import MeasuredCharts
from processors.measured_charts import held_ms as charts_held_ms
from processors.sensor_limits import SensorLimits
from schemas.alert_rules import SensorLimitRule
from schemas.errors import Refused
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.sensors import SensorReading
from schemas.settings import KafkaSettings
from schemas.telemetry import Noticed, Stage
from schemas.topics import ASSET_BASELINES, CHARTS, SENSORS
from topologies.alert_sender import alerts_so_far, send_steps
from topologies.dead_letters import refuse
from topologies.event_runner import EventRunner
from topologies.history import CLOCK_MARGIN_MS, History, start_of_memory_ms
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
        self._watches: AssetWatches
        self._charts: dict[int, MeasuredCharts] = {}
        self._left_out = 0
        self._producer: Producer
        self._open_gauge = stage.gauge("open", "Open alerts.", "rule")
        self._points_counter = stage.counter(
            "chart_points",
            "Points of control charts that were told, revisions too, and whether they signal.",
            "chart",
            "signal",
        )

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Reads back the alerts that are open, what was learned, and the last readings."""
        self._producer = producer
        limits, watches = SensorLimits(plant=self._plant), AssetWatches(plant=self._plant)
        async with History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history:
            async for alert in alerts_so_far(history, self._plant):
                limits.recall_alert(alert)
                watches.recall_alert(alert)
            await self._recall_baselines(history, watches)
            committed = await history.committed(SENSORS, partitions)
            for number in sorted(partitions):
                await self._recall(history, number, committed.get(number, 0), limits, watches)
        self._watches, self._limits = watches, limits

    async def take(self, record: Record) -> None:
        """Judges a reading."""
        assert self._limits is not None, "records come after the assignment"
        try:
            steps = self._limits.take(record.message, at_ns=record.at_ms * NS_PER_MS)
        except Refused as refused:
            await refuse(record, refused, stage=self._stage, producer=self._producer)
            record.finish()
            return
        if steps is None:
            self._stage.emit(Noticed(what="duplicate", subject=record.message.id))
        else:
            await self._follow(record, record.message)
        await send_steps(self._producer, steps or (), traceparent=record.traceparent)
        record.finish()

    async def tick(self, now_ns: int) -> None:
        """Repetitions."""
        if self._limits is None:
            return
        await send_steps(self._producer, [*self._limits.tick(now_ns), *self._watches.tick(now_ns)])
        for rule, number in (self._limits.open_alerts | self._watches.open_alerts).items():
            self._open_gauge.labels(rule).set(number)

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a record that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Every record was finished as it came."""
        self._limits = None
        self._charts.clear()

    async def _follow(self, record: Record, reading: SensorReading) -> None:
        """Sends what a reading completes: a point of a chart, a baseline, the begin or the end of an episode."""
        charts = self._charts[record.partition]
        points, watched = charts.take(reading, offset=record.offset), self._watches.take(reading)
        out = [Outgoing(topic=CHARTS, key=point.line, message=point) for point in points]
        if watched.learned is not None:
            out.append(Outgoing(topic=ASSET_BASELINES, key=reading.asset, message=watched.learned))
        if watched.not_learned:
            self._stage.emit(Noticed(what="not_learned", subject=reading.asset, detail=watched.not_learned))
        if out:
            await self._producer.send(out)
        for point in points:
            self._points_counter.labels(point.chart, "yes" if point.signals else "no").inc()
        await send_steps(self._producer, watched.steps, traceparent=record.traceparent)
        left_out = self._watches.incomplete_rows + sum(each.incomplete for each in self._charts.values())
        if left_out > self._left_out:
            self._stage.emit(Noticed(what="incomplete", subject=f"{reading.asset}: a reading is missing from a row"))
        self._left_out = left_out

    # --- the log ---------------------------------------------------------------------------------------------------------

    async def _recall_baselines(self, history: History, watches: AssetWatches) -> None:
        """Of all assets, also those in other partitions: none of them is waited for as if it were still learning."""
        if not any(asset.watch for asset in self._plant.assets):
            return
        for number in range(self._plant.kafka.partitions):
            end = await history.end(ASSET_BASELINES, number)
            async for found in history.since(ASSET_BASELINES, number, from_ms=0, until_offset=end):
                watches.recall_baseline(found.message)

    async def _recall(
        self, history: History, number: int, committed: int, limits: SensorLimits, watches: AssetWatches
    ) -> None:
        if committed == 0:
            self._charts[number] = MeasuredCharts(plant=self._plant)
            return
        clear_ms = max((r.clear_after_ms for r in self._plant.alerts if isinstance(r, SensorLimitRule)), default=0)
        charts_ms, watched_ms = charts_held_ms(self._plant), watches.held_ms
        held_ms = max(clear_ms + REMEMBERED_MS, charts_ms, watched_ms)
        from_ms = await start_of_memory_ms(history, SENSORS, number, committed=committed, held_ms=held_ms)
        charts = self._charts[number] = MeasuredCharts(plant=self._plant, whole_from_ns=from_ms * NS_PER_MS)
        margin_ms = CLOCK_MARGIN_MS if charts_ms else 0  # points are numbered by the sensors' clock
        async for found in history.since(SENSORS, number, from_ms=from_ms, until_offset=committed, margin_ms=margin_ms):
            if limits.recall(found.message, at_ns=found.at_ms * NS_PER_MS):
                charts.take(found.message, offset=found.offset)
                watches.recall(found.message)
