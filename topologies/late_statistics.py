"""What comes too late for what is held, worked out from the log: windows from `verdicts`, figures from `panes`, points from `statistics`.

A review of last week reads a week back. That goes on beside the live figures, one reading at a time (`log_readings`); revisions are a
function of the log, so that it does not matter which of both is told first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

from processors.station_pane import StationWindow
from processors.statistics_figures import Figures, LineWindow, PlaceWindow
from processors.statistics_recount import Recount
from processors.windowed_charts import Reworked, SeriesKey
from schemas.associations import Associations
from schemas.charts import ChartPoint
from schemas.message import NS_PER_MS
from schemas.plant import Plant
from schemas.settings import BudgetSettings, KafkaSettings
from schemas.statistics import Pane, WindowStatistics
from schemas.telemetry import Noticed, Stage
from schemas.topics import PANES, STATISTICS, VERDICTS
from topologies.history import Decoder, History, Logged
from topologies.log_readings import LogReadings
from topologies.statistics_memory import PartitionMemory

RECORDS_PER_TURN = 100
"""A millisecond: then whatever is live goes on."""


class PutTogether(NamedTuple):
    """Figures of windows that are not held, and the comparisons over them."""

    figures: list[WindowStatistics]
    compared: list[Associations]


class CorrectedPoint(NamedTuple):
    """A point whose figures were corrected: of which chart and subject, and the begin of its window in ns."""

    series: SeriesKey
    start_at_ns: int


def corrected_points(
    missing: Mapping[SeriesKey, Mapping[int, WindowStatistics]],
) -> dict[CorrectedPoint, WindowStatistics]:
    """The corrections that charts ask for (`WindowedCharts.take_missing`)."""
    return {CorrectedPoint(key, start): found for key, windows in missing.items() for start, found in windows.items()}


class LateStatistics:
    """The three kinds of readings. `next_offsets` are those of the stage, `memory` what it holds: both are looked at when a reading begins.
    `until_out` returns when the figures that were told are on their topic."""

    def __init__(
        self,
        *,
        plant: Plant,
        stage: Stage,
        kafka: KafkaSettings,
        opportunities: Callable[[str], int],
        decoded: Decoder,
        memory: Mapping[int, PartitionMemory],
        next_offsets: Mapping[tuple[str, int], int],
        until_out: Callable[[], Awaitable[None]],
    ) -> None:
        self._plant = plant
        self._settings = plant.statistics
        self._stage = stage
        self._kafka = kafka
        self._opportunities = opportunities
        self._decoded = decoded
        self._memory = memory
        self._next_offsets = next_offsets
        self._until_out = until_out
        turn = asyncio.Lock()
        self.windows: LogReadings[StationWindow, None, list[Pane]] = LogReadings(self._recounted, turn=turn)
        self.figures: LogReadings[LineWindow, None, PutTogether] = LogReadings(self._put_together, turn=turn)
        self.points: LogReadings[CorrectedPoint, WindowStatistics, list[ChartPoint]] = LogReadings(
            self._reworked, turn=turn
        )

    async def drop(self) -> None:
        """Ends reading; whatever asked is read again by the next owner of its partition."""
        for readings in (self.windows, self.figures, self.points):
            await readings.drop()

    def _history(self) -> History:
        return History(plant=self._plant.plant, stage=self._stage, kafka=self._kafka)

    async def _recounted(self, number: int, missing: dict[StationWindow, None]) -> list[Pane]:
        recount = Recount(
            wanted=missing,
            settings=self._settings,
            opportunities=self._opportunities,
            limit_bytes=BudgetSettings().windows_bytes,
        )
        async with self._history() as history:
            until_offset = self._next_offsets[VERDICTS.name, number]
            since = history.since(
                VERDICTS,
                number,
                from_ms=recount.from_ns // NS_PER_MS,
                until_offset=until_offset,
                decoded=self._decoded,
            )
            async for found in _by_turns(since):
                recount.feed(found.message, offset=found.offset, record_at_ms=found.at_ms)
        self._stage.emit(Noticed(what="recounted", subject=f"{len(missing)} windows of partition {number}"))
        return recount.panes()

    async def _put_together(self, number: int, absent: dict[LineWindow, None]) -> PutTogether:
        """For a comparison every level is needed."""
        figures = Figures(settings=self._settings)
        associations = self._memory[number].associations
        compared = associations.wanted(PlaceWindow(key.line, key.window) for key in absent)
        from_ns = min(key.window.start_at_ns for key in absent)
        async with self._history() as history:
            until_offset = self._next_offsets[PANES.name, number]
            since = history.since(PANES, number, from_ms=from_ns // NS_PER_MS, until_offset=until_offset)
            async for found in _by_turns(since):
                key = LineWindow.of(found.message)
                if key in absent or PlaceWindow(key.line, key.window) in compared:
                    figures.feed(found.message, offset=found.offset)
        return PutTogether(figures.figures(absent), associations.compared(figures, compared))

    async def _reworked(self, number: int, corrected: dict[CorrectedPoint, WindowStatistics]) -> list[ChartPoint]:
        missing: dict[SeriesKey, dict[int, WindowStatistics]] = {}
        for point, figures in corrected.items():
            missing.setdefault(point.series, {})[point.start_at_ns] = figures
        reworked = Reworked(settings=self._settings, missing=missing)
        await self._until_out()  # they are read back here
        async with self._history() as history:
            end = await history.end(STATISTICS, number)
            since = history.since(STATISTICS, number, from_ms=reworked.from_ns // NS_PER_MS, until_offset=end)
            async for found in _by_turns(since):
                reworked.feed(found.message)
        return reworked.points()


async def _by_turns(records: AsyncIterator[Logged]) -> AsyncIterator[Logged]:
    """The records, with a pause for others now and then."""
    taken = 0
    async for found in records:
        yield found
        taken += 1
        if taken % RECORDS_PER_TURN == 0:
            await asyncio.sleep(0)
