"""What the statistics stage holds of a partition, read back from the topics at a start.

The memory of figures reaches back at least as far as that of the process before: from a backlog the windows of its own time, from before
a pause those of then. So whatever was complete and not compared is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from processors.silent_stations import SilentStations, awaited_kinds
from processors.statistics_figures import Figures
from processors.statistics_panes import Panes, held_ns
from processors.window_associations import WindowAssociations
from processors.windowed_charts import WindowedCharts
from processors.windowed_charts import held_ms as charts_held_ms
from processors.windows_bound import keep_within
from schemas.codec import decode, decode_counted
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import BudgetSettings
from schemas.topics import ASSOCIATIONS, CHARTS, PANES, VERDICTS, Topic
from topologies.batches import Decoded
from topologies.history import History, start_of_memory_ms
from topologies.key_partitions import partition_of

RECORDS_AT_ONCE = 5_000
JUDGED_WITHIN_MS = 60_000
"""How long after its arrival a part has its verdict where nothing is behind; reading back begins that much earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMemory:
    """What is held of one partition of `verdicts` and of `panes`."""

    panes: Panes
    silent: SilentStations
    figures: Figures
    charts: WindowedCharts
    associations: WindowAssociations


class StatisticsMemory:
    """Reads back what the windows of a plant's partitions were made of. `decoded` reads a verdict as far as it is counted."""

    def __init__(
        self,
        *,
        plant: Plant,
        opportunities: Callable[[str], int],
        decoded: Callable[[Topic, bytes | None, Iterable[tuple[str, bytes]]], Any],
    ) -> None:
        self._settings = plant.statistics
        self._partitions = plant.kafka.partitions
        self._stations: Mapping[str, frozenset[str]] = {
            line.name: frozenset(each.name for each in line.stations) for line in plant.lines
        }
        self._opportunities = opportunities
        self._decoded = decoded
        self._windows_bytes = BudgetSettings().windows_bytes
        self._held_ms = held_ns(plant.statistics) // NS_PER_MS

    async def read_back(self, history: History, partitions: frozenset[int]) -> dict[int, PartitionMemory]:
        """What was held of each partition when it was committed last."""
        verdicts = await history.committed(VERDICTS, partitions)
        panes = await history.committed(PANES, partitions)
        found = {}
        for number in sorted(partitions):
            figures = await self._figures(history, number, panes.get(number, 0))
            found[number] = PartitionMemory(
                panes=await self._panes(history, number, verdicts.get(number, 0)),
                silent=SilentStations(settings=self._settings, lines=self._lines_of(number)),
                figures=figures,
                charts=await self._charts(history, number),
                associations=await self._associations(history, number, figures),
            )
        return found

    async def _panes(self, history: History, number: int, committed: int) -> Panes:
        """At least the windows that were open by the last committed record: not the next one's time counts, for a pause may lie between."""
        if committed == 0:
            return Panes(settings=self._settings, opportunities=self._opportunities)
        from_ms = await start_of_memory_ms(
            history, VERDICTS, number, committed=committed - 1, held_ms=self._held_ms + JUDGED_WITHIN_MS
        )
        panes = await self._panes_since(history, number, committed, from_ms)
        needed_from_ms = panes.watermark_ns // NS_PER_MS - self._held_ms
        if 0 < needed_from_ms < from_ms:  # a backlog: parts that arrived long before their verdicts
            return await self._panes_since(history, number, committed, needed_from_ms)
        return panes

    async def _panes_since(self, history: History, number: int, committed: int, from_ms: int) -> Panes:
        panes = Panes(settings=self._settings, opportunities=self._opportunities, complete_from_ns=from_ms * NS_PER_MS)
        read_back: list[Decoded] = []
        async for found in history.since(
            VERDICTS, number, from_ms=from_ms, until_offset=committed, decoded=self._decoded
        ):
            read_back.append((found.message, found.offset, found.at_ms))
            if len(read_back) >= RECORDS_AT_ONCE:
                panes.feed_all(read_back)
                keep_within([panes], limit_bytes=self._windows_bytes)
                read_back.clear()
        panes.feed_all(read_back)
        panes.settle()
        return panes

    async def _figures(self, history: History, number: int, committed: int) -> Figures:
        if committed == 0:
            return Figures(settings=self._settings, stations=self._stations)
        if not awaited_kinds(self._settings):  # nothing follows from a closed window that could be lost
            from_ms = await start_of_memory_ms(history, PANES, number, committed=committed, held_ms=self._held_ms)
            return await self._figures_since(history, number, committed, from_ms)
        # of the last record, not of the next one: what was told before a pause may not have been compared
        from_ms = await start_of_memory_ms(
            history, PANES, number, committed=committed - 1, held_ms=3 * self._held_ms // 2
        )
        figures = await self._figures_since(history, number, committed, from_ms)
        reaches_back_to_ms = figures.reaches_back_to_ns // NS_PER_MS
        if 0 < reaches_back_to_ms < from_ms:  # a backlog: its windows are older than their panes
            return await self._figures_since(history, number, committed, reaches_back_to_ms)
        return figures

    async def _figures_since(self, history: History, number: int, committed: int, from_ms: int) -> Figures:
        figures = Figures(settings=self._settings, complete_from_ns=from_ms * NS_PER_MS, stations=self._stations)
        async for found in history.since(PANES, number, from_ms=from_ms, until_offset=committed):
            figures.feed(found.message, offset=found.offset)
        figures.settle()
        return figures

    async def _charts(self, history: History, number: int) -> WindowedCharts:
        held_ms = charts_held_ms(self._settings)
        end = await history.end(CHARTS, number) if held_ms else 0
        if end == 0:
            return WindowedCharts(settings=self._settings)
        from_ms = await start_of_memory_ms(history, CHARTS, number, committed=end - 1, held_ms=held_ms)
        charts = WindowedCharts(settings=self._settings, whole_from_ns=from_ms * NS_PER_MS)
        async for found in history.since(CHARTS, number, from_ms=from_ms, until_offset=end):
            charts.recall(found.message)
        return charts

    async def _associations(self, history: History, number: int, figures: Figures) -> WindowAssociations:
        associations = WindowAssociations(settings=self._settings)
        if not self._settings.associations:
            return associations
        end = await history.end(ASSOCIATIONS, number)
        from_ms = figures.complete_from_ns // NS_PER_MS  # what was told of held windows was told after they began
        async for found in history.since(ASSOCIATIONS, number, from_ms=from_ms, until_offset=end):
            associations.recall(found.message)
        associations.resume(figures)
        return associations

    def _lines_of(self, number: int) -> dict[str, str]:
        """The stations whose verdicts lie in a partition, and the line of each."""
        lines = {station: line for line, stations in self._stations.items() for station in sorted(stations)}
        return {
            station: line for station, line in lines.items() if partition_of(station, of=self._partitions) == number
        }


def decoder(*, with_views: bool, measured: bool) -> Callable[[Topic, bytes | None, Iterable[tuple[str, bytes]]], Any]:
    """Decodes of a verdict as much as is counted (`codec.decode_counted`), and everything else whole. It raises `Refused`."""

    def decoded(topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
        if topic is VERDICTS:
            return decode_counted(value, headers, with_views=with_views, measured=measured)
        return decode(topic, value, headers)

    return decoded
