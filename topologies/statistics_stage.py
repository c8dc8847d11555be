"""The statistics stage: verdicts -> panes of each station, panes -> figures of each station and line, figures -> chart points and
comparisons of causes.

All run in one handler: panes are keyed by line, so all panes of a line meet in one partition. Records come and messages go in
batches; those are finished when everything that they caused is out. A restart reads back what the windows were made of
(`statistics_memory`); figures of open windows are told once more then, so that nothing need be held back for them. What comes too late for
what is held is read from the log beside all this (`late_statistics`).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from processors.gathered_verdicts import is_review
from processors.idle_partitions import IdlePartitions
from processors.picture_values import needs_every_view, picture_charts
from processors.statistics_figures import PlaceWindow
from processors.statistics_panes import Fed
from processors.windows_bound import keep_within
from schemas.chart_settings import is_windowed
from schemas.errors import Refused
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import BudgetSettings, KafkaSettings
from schemas.statistics import WindowStatistics
from schemas.telemetry import Noticed, Stage
from schemas.topics import PANES, VERDICTS, Topic
from topologies.batches import Batch, Decoded
from topologies.history import History
from topologies.late_statistics import LateStatistics, corrected_points
from topologies.line_runner import LineRunner, Outgoing, Producer, Record
from topologies.log_readings import Finish
from topologies.statistics_flush import Behind, Correction, Flush, Uncompared
from topologies.statistics_memory import PartitionMemory, StatisticsMemory, decoder

BATCH_MS = 250
TICK_MS = 50
RECORDS_PER_BATCH = 5_000
OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""A record makes a dozen objects that die with their batch, without cycles: looking for some after every 20,000 took 1.4 us a verdict,
after every 60,000 or 120,000 0.4 us."""


async def run(plant: Plant, *, plant_dir: Path, stage: Stage, stop: asyncio.Event) -> None:
    """Runs the stage until `stop` is set and everything is drained."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    kafka = KafkaSettings()
    handler = Statistics(plant=plant, stage=stage, kafka=kafka)
    runner = LineRunner(
        plant=plant,
        stage=stage,
        topics=(VERDICTS, PANES),
        handler=handler,
        kafka=kafka,
        tick_ms=TICK_MS,
        batches=handler,
    )
    await runner.run(stop)


class Statistics:
    """The handler: windows of each partition, and the records whose effects are not out yet."""

    def __init__(self, *, plant: Plant, stage: Stage, kafka: KafkaSettings) -> None:
        self._plant = plant
        self._stage = stage
        self._kafka = kafka
        self._opportunities = {recipe.key: recipe.opportunities_per_part for recipe in plant.recipes}
        self._memory: dict[int, PartitionMemory] = {}
        self._windows_bytes = BudgetSettings().windows_bytes
        self._pending: list[Batch] = []
        self._pending_records = 0
        self._next_offsets: dict[tuple[str, int], int] = {}
        self._last_flush_ns = 0
        self._idle = IdlePartitions(timeout_ms=plant.statistics.idle_timeout_ms)
        self._producer: Producer
        self._sending: asyncio.Task[None] | None = None
        self._decoded = decoder(
            with_views="camera" in plant.statistics.by or needs_every_view(plant.statistics),
            measured=bool(picture_charts(plant.statistics)),
        )
        self._read_back = StatisticsMemory(plant=plant, opportunities=self._opportunities_of, decoded=self._decoded)
        self._late = LateStatistics(
            plant=plant,
            stage=stage,
            kafka=kafka,
            opportunities=self._opportunities_of,
            decoded=self._decoded,
            memory=self._memory,
            next_offsets=self._next_offsets,
            until_out=self._until_out,
        )
        self._behind: dict[int, Behind] = {}
        self._uncompared: list[Uncompared] = []
        self._in_order = any(is_windowed(chart) for chart in plant.statistics.charts)
        self._untold: dict[int, list[Finish]] = {}
        self._windows_gauge = stage.gauge("windows", "Windows of stations that are held in memory.")
        self._points_counter = stage.counter(
            "chart_points",
            "Points of control charts that were told, revisions too, and whether they signal.",
            "chart",
            "signal",
        )
        self._compared_counter = stage.counter(
            "comparisons",
            "Windows over which causes were compared, and whether a level is pointed at.",
            "line",
            "pointed_at",
        )
        self._parts_gauge = stage.gauge("parts", "Parts that are held in memory to recognise duplicates and revisions.")

    async def assigned(self, partitions: frozenset[int], producer: Producer) -> None:
        """Reads back what the windows of these partitions were made of."""
        self._producer = producer
        await self._forget(partitions)
        async with History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka) as history:
            self._memory.update(await self._read_back.read_back(history, partitions))

    async def take(self, record: Record) -> None:
        """Never called: the runner has batches for us."""
        raise AssertionError(f"a record of {record.topic.name} came alone")

    def decode(self, topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
        """Of a verdict as much as is counted; all views where cameras have figures, or charts measure every view. Raises `Refused`."""
        return self._decoded(topic, value, headers)

    async def take_batch(self, batch: Batch) -> None:
        """Counts verdicts or panes."""
        if batch.topic is PANES and batch.partition in self._behind:
            self._behind[batch.partition].batches.append(batch)  # they are counted in their order
            return
        self._count(batch)
        if self._pending_records >= RECORDS_PER_BATCH:
            await self._flush(self._last_flush_ns)

    async def tick(self, now_ns: int) -> None:
        """Closes what is complete; sends what is due."""
        if not self._memory:
            return  # nothing is ours yet
        for number in self._idle.idle(self._memory, now_ns=now_ns):
            self._memory[number].panes.clock_at(now_ns)
            self._memory[number].silent.clock_at(now_ns)
        urgent = any(held.panes.urgent for held in self._memory.values())
        if urgent or now_ns - self._last_flush_ns >= BATCH_MS * NS_PER_MS:
            await self._flush(now_ns)

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a record that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Sends what is due, then forgets."""
        await self._flush(self._last_flush_ns)
        await self._sent()
        await self._forget(partitions)

    async def _forget(self, partitions: frozenset[int]) -> None:
        """What is late and not read yet is not finished: its next owner reads it again."""
        await self._late.drop()
        self._behind.clear()
        self._uncompared.clear()
        self._untold.clear()
        self._pending.clear()
        self._pending_records = 0
        for number in partitions:
            self._memory.pop(number, None)
            self._idle.forget(number)

    def _count(self, batch: Batch) -> None:
        self._next_offsets[batch.topic.name, batch.partition] = batch.last_offset + 1
        self._pending.append(batch)
        self._pending_records += len(batch.records)
        if batch.topic is PANES:
            figures = self._memory[batch.partition].figures
            for pane, offset, _ in batch.records:
                figures.feed(pane, offset=offset)
        else:
            self._count_verdicts(batch)

    def _count_verdicts(self, batch: Batch) -> None:
        if not all(is_review(verdict) for verdict, _, _ in batch.records):
            self._idle.took(batch.partition)
        for verdict, fed in self._memory[batch.partition].panes.feed_all(self._young_enough(batch.records)):
            if fed is Fed.LATE:
                self._stage.emit(Noticed(what="late", subject=verdict.id))
            elif fed is Fed.DUPLICATE:
                self._stage.emit(Noticed(what="duplicate", subject=verdict.id))

    def _young_enough(self, records: Sequence[Decoded]) -> Sequence[Decoded]:
        """The records whose windows can be counted anew: what they were made of is not gone from the topic."""
        too_old = {
            offset: verdict.id
            for verdict, offset, at_ms in records
            if verdict.arrived_at_ns < (at_ms - PANES.retention_ms) * NS_PER_MS
        }
        if not too_old:
            return records
        for subject in too_old.values():
            self._stage.emit(Noticed(what="too_old", subject=subject))
        return [(verdict, offset, at_ms) for verdict, offset, at_ms in records if offset not in too_old]

    # --- what is due --------------------------------------------------------------------------------------------------

    async def _flush(self, now_ns: int) -> None:
        self._last_flush_ns = now_ns
        flush = Flush(self._pending)
        self._pending, self._pending_records = [], 0
        self._windows(flush, now_ns)
        self._figures(flush)
        self._points(flush)
        await self._sent()
        outgoing = flush.outgoing()
        if outgoing or flush.finishes:
            self._sending = asyncio.create_task(self._send(outgoing, flush.finishes))
        for each in flush.corrections:
            self._late.points.ask(each.partition, each.points, each.finishes)
        self._show(flush)

    def _windows(self, flush: Flush, now_ns: int) -> None:
        """Panes. Points of charts follow from panes in the order of verdicts: with charts, those of a partition wait for its recount."""
        for reading in self._late.windows.take_done():
            flush.panes += reading.found
            flush.finishes += reading.finishes
        for number, held in self._memory.items():
            if missing := held.panes.take_missing():
                self._late.windows.ask(number, dict.fromkeys(missing), [flush.share(VERDICTS, number)])
            if self._in_order and self._late.windows.reads(number):
                self._untold.setdefault(number, []).append(flush.share(VERDICTS, number))
                continue
            flush.panes += held.panes.due(now_ns)
            flush.panes += held.silent.due(held.panes.watermark_ns, counted=held.panes)
            flush.finishes += self._untold.pop(number, ())
        if keep_within([held.panes for held in self._memory.values()], limit_bytes=self._windows_bytes):
            self._stage.emit(Noticed(what="held_for_less_long", subject="windows, for LINESIGHT_BUDGET_WINDOWS_MIB"))

    def _figures(self, flush: Flush) -> None:
        """Figures, and comparisons. Where some of a partition have to be put together first, the others of it wait for those: a chart's
        points follow from the figures in their order."""
        for number, held in self._memory.items():
            if number in self._behind:
                continue
            found = held.figures.due()
            held.associations.note(found)
            flush.compared += held.associations.due(held.figures)
            self._wait_for_comparisons(flush, number, held.associations.waiting)
            absent = held.figures.take_missing()
            held.figures.forget()
            if absent:
                self._behind[number] = Behind(found)
                self._late.figures.ask(number, dict.fromkeys(absent), [flush.share(PANES, number)])
            else:
                self._charted(flush, number, found, [flush.share(PANES, number)])
        for reading in self._late.figures.take_done():
            behind = self._behind.pop(reading.partition)
            flush.compared += reading.found.compared
            self._charted(flush, reading.partition, behind.figures + reading.found.figures, reading.finishes)
            for batch in behind.batches:
                self._count(batch)

    def _wait_for_comparisons(self, flush: Flush, number: int, waiting: frozenset[PlaceWindow]) -> None:
        """What makes a comparison due is finished when that is told: a crash before it finds it due again."""
        if waiting and flush.has(PANES, number):
            finish = flush.share(PANES, number)
            self._uncompared.append(Uncompared(partition=number, windows=waiting, finish=finish))
        for each in self._uncompared:
            if each.partition == number:
                each.windows &= waiting
        flush.finishes += [each.finish for each in self._uncompared if not each.windows]
        self._uncompared = [each for each in self._uncompared if each.windows]

    def _charted(self, flush: Flush, number: int, figures: list[WindowStatistics], finishes: Sequence[Finish]) -> None:
        charts = self._memory[number].charts
        for found in figures:
            charts.feed(found)
        flush.figures += figures
        flush.points += charts.due()
        if missing := charts.take_missing():
            flush.corrections.append(Correction(partition=number, points=corrected_points(missing), finishes=finishes))
        else:
            flush.finishes += finishes

    def _points(self, flush: Flush) -> None:
        for reading in self._late.points.take_done():
            flush.points += reading.found
            flush.finishes += reading.finishes

    def _show(self, flush: Flush) -> None:
        for point in flush.points:
            self._points_counter.labels(point.chart, "yes" if point.signals else "no").inc()
        for each in flush.compared:
            self._compared_counter.labels(each.line, "yes" if each.pointed_at else "no").inc()
        self._windows_gauge.set(sum(held.panes.windows_held for held in self._memory.values()))
        self._parts_gauge.set(sum(held.panes.parts_held for held in self._memory.values()))

    async def _send(self, outgoing: Sequence[Outgoing], finishes: Sequence[Finish]) -> None:
        await self._producer.send(outgoing)
        for finish in finishes:
            finish()

    async def _sent(self) -> None:
        """What was on its way is out, in its order, while more was counted. Raises what sending it raised."""
        try:
            if self._sending is not None:
                await self._sending
        finally:
            self._sending = None

    async def _until_out(self) -> None:
        """Returns when what was sent before is out. If that failed, `_sent` says so."""
        if self._sending is not None:
            await asyncio.wait({self._sending})

    def _opportunities_of(self, recipe: str) -> int:
        """Of a recipe that is not in the plant file (any more) nothing is known: such parts count no opportunities."""
        return self._opportunities.get(recipe, 0)
