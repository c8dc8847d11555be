"""The statistics stage: verdicts -> panes of each station, panes -> figures of each station and line, figures -> chart points and
comparisons of causes.

All run in one handler: panes are keyed by line, so all panes of a line meet in one partition. Records come and messages go in
batches; those are finished when everything that they caused is out. A restart reads back what the windows were made of; figures of
open windows are told once more then, so that nothing need be held back for them.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from processors.idle_partitions import IdlePartitions
from processors.picture_values import needs_every_view, picture_charts
from processors.silent_stations import SilentStations
from processors.statistics_figures import Figures, LineWindow, PlaceWindow
from processors.statistics_lane import is_review
from processors.statistics_panes import Fed, Panes, StationWindow, held_ns
from processors.statistics_recount import Recount
from processors.window_associations import WindowAssociations
from processors.windowed_charts import Reworked, SeriesKey, WindowedCharts
from processors.windowed_charts import held_ms as charts_held_ms
from schemas.associations import Associations
from schemas.charts import ChartPoint
from schemas.codec import decode, decode_counted
from schemas.errors import Refused
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import KafkaSettings
from schemas.statistics import Pane, WindowStatistics
from schemas.telemetry import Noticed, Stage
from schemas.topics import ASSOCIATIONS, CHARTS, PANES, STATISTICS, VERDICTS, Topic
from topologies.batches import Batch, Decoded
from topologies.history import History, start_of_memory_ms
from topologies.key_partitions import partition_of
from topologies.line_runner import LineRunner, Outgoing, Producer, Record

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
        self._settings = plant.statistics
        self._with_views = "camera" in plant.statistics.by or needs_every_view(plant.statistics)
        self._measured = bool(picture_charts(plant.statistics))
        self._stations = {line.name: frozenset(each.name for each in line.stations) for line in plant.lines}
        self._opportunities = {recipe.key: recipe.opportunities_per_part for recipe in plant.recipes}
        self._panes: dict[int, Panes] = {}
        self._silent: dict[int, SilentStations] = {}
        self._figures: dict[int, Figures] = {}
        self._charts: dict[int, WindowedCharts] = {}
        self._associations: dict[int, WindowAssociations] = {}
        self._pending: list[Batch] = []
        self._pending_records = 0
        self._next_offsets: dict[tuple[str, int], int] = {}
        self._last_flush_ns = 0
        self._idle = IdlePartitions(timeout_ms=plant.statistics.idle_timeout_ms)
        self._producer: Producer
        self._sending: asyncio.Task[None] | None = None
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
        self._pending.clear()
        self._pending_records = 0
        async with self._history() as history:
            verdicts = await history.committed(VERDICTS, partitions)
            panes = await history.committed(PANES, partitions)
            for number in sorted(partitions):
                self._panes[number] = await self._restored_panes(history, number, verdicts.get(number, 0))
                self._silent[number] = SilentStations(settings=self._settings, lines=self._lines_of(number))
                self._figures[number] = await self._restored_figures(history, number, panes.get(number, 0))
                self._charts[number] = await self._restored_charts(history, number)
                self._associations[number] = await self._restored_associations(history, number)

    async def take(self, record: Record) -> None:
        """Never called: the runner has batches for us."""
        raise AssertionError(f"a record of {record.topic.name} came alone")

    def decode(self, topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
        """Of a verdict as much as is counted; all views where cameras have figures, or charts measure every view. Raises `Refused`."""
        if topic is VERDICTS:
            return decode_counted(value, headers, with_views=self._with_views, measured=self._measured)
        return decode(topic, value, headers)

    async def take_batch(self, batch: Batch) -> None:
        """Counts verdicts or panes."""
        self._next_offsets[batch.topic.name, batch.partition] = batch.last_offset + 1
        self._pending.append(batch)
        self._pending_records += len(batch.records)
        if batch.topic is PANES:
            for pane, offset, _ in batch.records:
                self._figures[batch.partition].feed(pane, offset=offset)
        else:
            self._count(batch)
        if self._pending_records >= RECORDS_PER_BATCH:
            await self._flush(self._last_flush_ns)

    async def tick(self, now_ns: int) -> None:
        """Closes what is complete; sends what is due."""
        if not self._panes:
            return  # nothing is ours yet
        for number in self._idle.idle(self._panes, now_ns=now_ns):
            self._panes[number].clock_at(now_ns)
            self._silent[number].clock_at(now_ns)
        urgent = any(panes.urgent for panes in self._panes.values())
        if urgent or now_ns - self._last_flush_ns >= BATCH_MS * NS_PER_MS:
            await self._flush(now_ns)

    async def refused(self, record: Record, refused: Refused) -> Sequence[Outgoing]:
        """Nothing follows from a record that cannot be read."""
        return ()

    async def drain(self, partitions: frozenset[int]) -> None:
        """Sends what is due, then forgets."""
        await self._flush(self._last_flush_ns)
        await self._sent()
        for number in partitions:
            self._panes.pop(number, None)
            self._silent.pop(number, None)
            self._figures.pop(number, None)
            self._charts.pop(number, None)
            self._associations.pop(number, None)
            self._idle.forget(number)

    def _count(self, batch: Batch) -> None:
        if not all(is_review(verdict) for verdict, _, _ in batch.records):
            self._idle.took(batch.partition)
        for verdict, fed in self._panes[batch.partition].feed_all(self._young_enough(batch.records)):
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

    async def _flush(self, now_ns: int) -> None:
        self._last_flush_ns = now_ns
        finished, self._pending, self._pending_records = self._pending, [], 0
        told = [pane for panes in self._panes.values() for pane in panes.due(now_ns)]
        for number, panes in self._panes.items():
            if missing := panes.take_missing():
                told += await self._recounted(number, missing)
            told += self._silent[number].due(panes.watermark_ns, counted=panes)
        figures: list[WindowStatistics] = []
        points: list[ChartPoint] = []
        compared: list[Associations] = []
        for number, known in self._figures.items():
            found = known.due()
            self._associations[number].note(found)
            compared += self._associations[number].due(known)
            if absent := known.take_missing():
                anew, compared_anew = await self._put_together(number, absent)
                found += anew
                compared += compared_anew
            points += await self._charted(number, found)
            figures += found
        await self._sent()
        outgoing = [*map(_pane_out, told), *map(_figures_out, figures), *map(_point_out, points)]
        outgoing += map(_associations_out, compared)
        if outgoing or finished:
            self._sending = asyncio.create_task(self._send(outgoing, finished))
        self._show(points, compared)
        self._windows_gauge.set(sum(panes.windows_held for panes in self._panes.values()))
        self._parts_gauge.set(sum(panes.parts_held for panes in self._panes.values()))

    def _show(self, points: Sequence[ChartPoint], compared: Sequence[Associations]) -> None:
        for point in points:
            self._points_counter.labels(point.chart, "yes" if point.signals else "no").inc()
        for each in compared:
            self._compared_counter.labels(each.line, "yes" if each.pointed_at else "no").inc()

    async def _send(self, outgoing: Sequence[Outgoing], finished: Sequence[Batch]) -> None:
        await self._producer.send(outgoing)
        for batch in finished:
            batch.finish()

    async def _sent(self) -> None:
        """What was on its way is out, in its order, while more was counted. Raises what sending it raised."""
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending

    # --- the log ---------------------------------------------------------------------------------------------------------

    def _history(self) -> History:
        return History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka)

    async def _restored_panes(self, history: History, number: int, committed: int) -> Panes:
        make = partial(Panes, settings=self._settings, opportunities=self._opportunities_of)
        if committed == 0:
            return make()
        from_ms = await start_of_memory_ms(
            history, VERDICTS, number, committed=committed, held_ms=held_ns(self._settings) // NS_PER_MS
        )
        panes = make(complete_from_ns=from_ms * NS_PER_MS)
        read_back: list[Decoded] = []
        async for found in history.since(
            VERDICTS, number, from_ms=from_ms, until_offset=committed, decoded=self.decode
        ):
            read_back.append((found.message, found.offset, found.at_ms))
            if len(read_back) >= RECORDS_PER_BATCH:
                panes.feed_all(read_back)
                read_back.clear()
        panes.feed_all(read_back)
        panes.settle()
        return panes

    async def _restored_figures(self, history: History, number: int, committed: int) -> Figures:
        if committed == 0:
            return Figures(settings=self._settings, stations=self._stations)
        from_ms = await start_of_memory_ms(
            history, PANES, number, committed=committed, held_ms=held_ns(self._settings) // NS_PER_MS
        )
        whole_from_ns = from_ms * NS_PER_MS
        figures = Figures(settings=self._settings, complete_from_ns=whole_from_ns, stations=self._stations)
        async for found in history.since(PANES, number, from_ms=from_ms, until_offset=committed):
            figures.feed(found.message, offset=found.offset)
        figures.settle()
        return figures

    async def _recounted(self, number: int, missing: set[StationWindow]) -> list[Pane]:
        recount = Recount(wanted=missing, settings=self._settings, opportunities=self._opportunities_of)
        async with self._history() as history:
            async for found in history.since(
                VERDICTS,
                number,
                from_ms=recount.from_ns // NS_PER_MS,
                until_offset=self._next_offsets[VERDICTS.name, number],
                decoded=self.decode,
            ):
                recount.feed(found.message, offset=found.offset, record_at_ms=found.at_ms)
        self._stage.emit(Noticed(what="recounted", subject=f"{len(missing)} windows of partition {number}"))
        return recount.panes()

    async def _put_together(
        self, number: int, absent: set[LineWindow]
    ) -> tuple[list[WindowStatistics], list[Associations]]:
        """Figures of windows that are not held, and the comparisons over them: for those every level is needed."""
        figures = Figures(settings=self._settings)
        associations = self._associations[number]
        compared = associations.wanted(PlaceWindow(key.line, key.window) for key in absent)
        async with self._history() as history:
            async for found in history.since(
                PANES,
                number,
                from_ms=min(key.window.start_at_ns for key in absent) // NS_PER_MS,
                until_offset=self._next_offsets[PANES.name, number],
            ):
                key = LineWindow.of(found.message)
                if key in absent or PlaceWindow(key.line, key.window) in compared:
                    figures.feed(found.message, offset=found.offset)
        return figures.figures(absent), associations.compared(figures, compared)

    async def _charted(self, number: int, figures: Sequence[WindowStatistics]) -> list[ChartPoint]:
        charts = self._charts[number]
        for found in figures:
            charts.feed(found)
        points = charts.due()
        if missing := charts.take_missing():
            points += await self._reworked(number, missing)
        return points

    async def _reworked(self, number: int, missing: dict[SeriesKey, dict[int, WindowStatistics]]) -> list[ChartPoint]:
        reworked = Reworked(settings=self._settings, missing=missing)
        await self._sent()  # figures of the flush before may still be on their way, and they are read back here
        async with self._history() as history:
            end = await history.end(STATISTICS, number)
            async for found in history.since(
                STATISTICS, number, from_ms=reworked.from_ns // NS_PER_MS, until_offset=end
            ):
                reworked.feed(found.message)
        return reworked.points()

    async def _restored_charts(self, history: History, number: int) -> WindowedCharts:
        held_ms = charts_held_ms(self._settings)
        end = await history.end(CHARTS, number) if held_ms else 0
        if end == 0:
            return WindowedCharts(settings=self._settings)
        from_ms = await start_of_memory_ms(history, CHARTS, number, committed=end - 1, held_ms=held_ms)
        charts = WindowedCharts(settings=self._settings, whole_from_ns=from_ms * NS_PER_MS)
        async for found in history.since(CHARTS, number, from_ms=from_ms, until_offset=end):
            charts.recall(found.message)
        return charts

    async def _restored_associations(self, history: History, number: int) -> WindowAssociations:
        associations = WindowAssociations(settings=self._settings)
        if not self._settings.associations:
            return associations
        figures = self._figures[number]
        end = await history.end(ASSOCIATIONS, number)
        from_ms = figures.complete_from_ns // NS_PER_MS  # what was told of held windows was told after they began
        async for found in history.since(ASSOCIATIONS, number, from_ms=from_ms, until_offset=end):
            associations.recall(found.message)
        associations.resume(figures)
        return associations

    def _lines_of(self, number: int) -> dict[str, str]:
        """The stations whose verdicts lie in a partition, and the line of each."""
        lines = {station: line for line, stations in self._stations.items() for station in sorted(stations)}
        partitions = self._plant.kafka.partitions
        return {station: line for station, line in lines.items() if partition_of(station, of=partitions) == number}

    def _opportunities_of(self, recipe: str) -> int:
        """Of a recipe that is not in the plant file (any more) nothing is known: such parts count no opportunities."""
        return self._opportunities.get(recipe, 0)


def _pane_out(pane: Pane) -> Outgoing:
    return Outgoing(topic=PANES, key=pane.line, message=pane)


def _point_out(point: ChartPoint) -> Outgoing:
    return Outgoing(topic=CHARTS, key=point.line, message=point)


def _associations_out(compared: Associations) -> Outgoing:
    return Outgoing(topic=ASSOCIATIONS, key=compared.line, message=compared)


def _figures_out(figures: WindowStatistics) -> Outgoing:
    return Outgoing(topic=STATISTICS, key=figures.line, message=figures)
