"""Stations that had no part in a window, told as empty closed panes: so that a line's figures know when all its stations are done.

A line's stations lie in different partitions of `verdicts`, and those are not read at one pace. Without word from a station nobody can tell
whether it had no part in a window or is still being read, and a line's point would be charted with half of its parts. Told only for windows
that something waits for (charts by line, comparisons of causes), of those that end within what is held behind the watermark; a pane with
parts, at whatever time, has a higher revision and takes the place of the empty one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from processors.shift_calendar import ShiftCalendar
from processors.station_pane import StationWindow
from processors.statistics_panes import held_ns
from processors.windows import Window
from schemas.chart_settings import is_windowed
from schemas.message import NS_PER_MS, NS_PER_S
from schemas.statistics import Pane, PaneCounts
from schemas.statistics_settings import StatisticsSettings

EMPTY_REVISION = 0
"""Below that of every pane with a part."""

Kind = tuple[str, int]
"""`tumbling`, `sliding` or `shift`, and the length in ms; 0 for shifts."""


def awaited_kinds(settings: StatisticsSettings) -> frozenset[Kind]:
    """The windows over which all stations of a line are waited for."""
    by_line = [chart for chart in settings.charts if is_windowed(chart) and chart.by == "line"]
    charted = {(chart.over, chart.window_ms or 0) for chart in by_line}
    return frozenset(charted | {(each.over, each.window_ms or 0) for each in settings.associations})


def kind_of(window: Window) -> Kind:
    """The kind that a window is of."""
    return window.kind, 0 if window.kind == "shift" else window.length_ms


class SilentStations:
    """The stations of one partition of `verdicts`, `lines` by station. Ask for what is `due` when its watermark has moved."""

    def __init__(self, *, settings: StatisticsSettings, lines: Mapping[str, str]) -> None:
        self._kinds = awaited_kinds(settings)
        self._lines = lines
        self._grace_ns = settings.grace_ms * NS_PER_MS
        self._held_ns = held_ns(settings)
        self._every_ms = {window.length_ms: window.every_ms for window in settings.sliding}
        self._calendar = ShiftCalendar(settings.shifts, ZoneInfo(settings.time_zone))
        self._idle_ns = settings.idle_timeout_ms * NS_PER_MS
        self._told_until_ns = 0
        self._clock_ns = 0

    def clock_at(self, now_ns: int) -> None:
        """The partition is idle, perhaps without a record so far: its time follows the clock as its watermark does."""
        self._clock_ns = now_ns - self._idle_ns

    def due(self, watermark_ns: int, *, counted: Container[StationWindow]) -> list[Pane]:
        """The empty panes of windows that became complete since the last call. `counted` are those in which a part was counted."""
        if not self._kinds or not self._lines:
            return []
        until_ns = max(watermark_ns, self._clock_ns) - self._grace_ns
        from_ns = max(self._told_until_ns, until_ns - self._held_ns, 0)
        self._told_until_ns = max(self._told_until_ns, until_ns)
        return [
            _empty(station, line, window)
            for window in self._ended(from_ns, until_ns)
            for station, line in self._lines.items()
            if StationWindow(station, window) not in counted
        ]

    def _ended(self, from_ns: int, until_ns: int) -> Iterator[Window]:
        """The awaited windows that end in `(from_ns, until_ns]`."""
        if until_ns <= from_ns:
            return
        for kind, length_ms in sorted(self._kinds):
            if kind == "shift":
                yield from self._shifts(from_ns, until_ns)
                continue
            length_ns, step_ns = length_ms * NS_PER_MS, self._every_ms.get(length_ms, length_ms) * NS_PER_MS
            step_ns = length_ns if kind == "tumbling" else step_ns
            first_ns = (from_ns - length_ns) // step_ns * step_ns + step_ns
            for start_ns in range(first_ns, until_ns - length_ns + 1, step_ns):
                yield Window(start_ns, length_ms, kind)

    def _shifts(self, from_ns: int, until_ns: int) -> Iterator[Window]:
        day = datetime.fromtimestamp(from_ns // NS_PER_S, UTC).date() - timedelta(days=2)
        last = datetime.fromtimestamp(until_ns // NS_PER_S, UTC).date() + timedelta(days=1)
        while day <= last:
            yield from (window for window in self._calendar.begun_on(day) if from_ns < window.end_at_ns <= until_ns)
            day += timedelta(days=1)


def _empty(station: str, line: str, window: Window) -> Pane:
    return Pane(
        id=f"{window.told(station, by='', level='')}/{EMPTY_REVISION}",
        line=line,
        station=station,
        window_ms=window.length_ms,
        start_at_ns=window.start_at_ns,
        revision=EMPTY_REVISION,
        counts=PaneCounts(),
        closed=True,
        kind=window.kind,
        shift=window.shift,
    )
